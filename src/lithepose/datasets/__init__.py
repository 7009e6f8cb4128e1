"""Readers of the research data sets' files."""
