"""Triggers: waiting without a slot."""
