"""2D keypoints of other programs' files, as tracks."""
