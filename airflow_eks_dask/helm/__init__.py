"""What is known of Helm: its program, its values, its releases. The hook puts it together."""
