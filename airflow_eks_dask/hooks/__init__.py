"""Airflow's connections of type ``dask``."""
