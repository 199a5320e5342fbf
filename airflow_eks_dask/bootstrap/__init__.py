"""What the DAGs that build, remove and examine a cluster have in common: the form, what it means, and their tasks."""
