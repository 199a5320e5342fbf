"""Fast tests, without Airflow processes."""
