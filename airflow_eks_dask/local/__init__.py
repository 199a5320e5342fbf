"""A whole Airflow on this machine, in processes of its own, gone without trace afterwards."""
