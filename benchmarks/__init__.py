"""Compares DaskExecutor with the executors that Airflow users know; run as ``python -m benchmarks``."""
