"""2D keypoints of other programs' files, as tracks."""

from lithepose.keypoints.reading import LAYOUTS, is_keypoints, read_keypoints

__all__ = ["LAYOUTS", "is_keypoints", "read_keypoints"]
