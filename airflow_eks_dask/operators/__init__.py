"""Operators: one verb a task. What it means is said in `resources` and `hooks`."""
