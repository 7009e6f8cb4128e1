"""Trained networks measured as papers do."""
