"""What the sample DAGs do, as plain functions that need no Airflow to be tried or tested."""
