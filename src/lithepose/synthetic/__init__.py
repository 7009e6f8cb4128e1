"""Rendered people with exactly known joints."""
