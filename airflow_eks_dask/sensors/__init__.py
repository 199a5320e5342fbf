"""Sensors: tasks that wait until something outside is so, with or without a slot."""
