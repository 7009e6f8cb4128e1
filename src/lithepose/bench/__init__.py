"""LitheBench: every lifter under one rule and one budget."""
