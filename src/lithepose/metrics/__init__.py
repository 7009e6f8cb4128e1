"""Errors and scores of poses, and the protocols that average them."""
