"""Links from a task to the console of what it made."""
