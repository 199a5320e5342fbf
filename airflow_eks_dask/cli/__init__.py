"""The ``airflow eks-dask`` commands."""
