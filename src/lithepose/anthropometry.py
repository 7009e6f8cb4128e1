"""The proportions of an adult: every length that is assumed rather than seen comes from here.

Lengths are fractions of the stature unless a name ends in `_M`.
"""

from __future__ import annotations

# The stature that lifters answer for (an image never tells how tall a person is), that is assumed
# where none is given, and around which bodies are drawn.
STANDARD_HEIGHT_M = 1.71
HEIGHT_SPREAD_M = 0.085
DRAWN_HEIGHTS_M = (1.50, 1.95)

# Segments of the bodies that the motion files are built with (docs/data/mocap.md): hip and shoulder
# width from joint centre to joint centre, trunk from mid-hips to mid-shoulders, neck from there to
# the base of the skull, head from there to the vertex, the tip of the nose forward of and above the
# base of the skull.
SEGMENTS = {
    "thigh": 0.242, "shin": 0.232, "hip_width": 0.124, "trunk": 0.287, "shoulder_width": 0.200,
    "upper_arm": 0.164, "forearm": 0.147, "neck": 0.080, "head": 0.106,
    "nose_forward": 0.062, "nose_up": 0.018,
}  # fmt: skip

# How far segments are spread, relative to their length, when training draws a body anew. Hips and
# shoulders are spread wider because data sets and detectors disagree on them most; for the same
# reason training draws hips around a width between that of the motion files and the 0.266 m of
# Human3.6M's skeletons.
TRAINING_SPREAD = {
    "thigh": 0.045, "shin": 0.045, "hip_width": 0.120, "trunk": 0.045, "shoulder_width": 0.090,
    "upper_arm": 0.050, "forearm": 0.050, "neck": 0.060, "head": 0.060,
}  # fmt: skip
TRAINING_MEAN = {name: SEGMENTS[name] for name in TRAINING_SPREAD} | {"hip_width": 0.130}

# The ankle joint over the sole of a flat foot.
ANKLE_HEIGHT_M = 0.083
ANKLE_HEIGHT = ANKLE_HEIGHT_M / STANDARD_HEIGHT_M
