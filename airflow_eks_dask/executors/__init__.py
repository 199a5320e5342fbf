"""The Airflow side: the executor contract, which cluster to use, what is in flight."""
