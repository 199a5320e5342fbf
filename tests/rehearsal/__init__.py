"""The dress rehearsal: all of it as its users have it, and nothing is simulated but AWS, and the chart of Headlamp."""
