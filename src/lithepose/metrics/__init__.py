"""Errors and scores of poses, and the protocols that average them.

`pose3d` and `pose2d` have the metrics, `protocols` the rules of the published tables, `evaluate`
measures by them.
"""

from lithepose.metrics import evaluate, pose2d, pose3d, protocols

__all__ = ["evaluate", "pose2d", "pose3d", "protocols"]
