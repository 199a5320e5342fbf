"""What a DAG file imports."""

NUMBER = 0
