"""Faults, while Airflow runs tasks: nothing may be lost, and nothing may run twice."""
