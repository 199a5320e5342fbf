"""The page inside Airflow: the Dask cluster, its workers, and what runs where."""
