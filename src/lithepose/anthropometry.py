"""The proportions of an adult: every length that is assumed rather than seen comes from here.

Lengths are fractions of the stature unless a name ends in `_M`.
"""

from __future__ import annotations

from collections.abc import Mapping

# The stature that lifters answer for (an image never tells how tall a person is), that is assumed
# where none is given, and around which bodies are drawn.
STANDARD_HEIGHT_M = 1.71
HEIGHT_SPREAD_M = 0.085
DRAWN_HEIGHTS_M = (1.50, 1.95)

# Segments of the bodies that the motion files are built with (docs/data/mocap.md): hip and shoulder
# width from joint centre to joint centre, trunk from mid-hips to mid-shoulders, neck from there to
# the base of the skull, head from there to the head top, the tip of the nose forward of and above
# the base of the skull.
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

# Where points of head, hand and foot are, by part and name: outward, forward and up of the base of
# the skull, of the wrist and of the ankle joint, of a person who stands upright with hanging arms,
# palms to the body. Where there are two, of either side.
Template = Mapping[str, Mapping[str, tuple[float, float, float]]]

# Nose and head top are those of `SEGMENTS`; the rest are round numbers of the size that
# anthropometric surveys give for adults. In millimetres at the standard height: pupils 64 apart,
# 115 below the head top and 32 behind the tip of the nose; ears 147 apart, 51 above the base of the
# skull; knuckles 86 from the wrist and 55 apart; feet in shoes, the heel 70 behind the ankle and 27
# above the sole, the tips of the big and the small toe 181 and 140 before it and 20 above the sole.
TEMPLATE: Template = {
    "head": {
        "nose": (0.0, SEGMENTS["nose_forward"], SEGMENTS["nose_up"]),
        "eye": (0.0187, 0.043, 0.0385),
        "ear": (0.043, 0.006, 0.030),
        "head_top": (0.0, 0.0, SEGMENTS["head"]),
    },
    "hand": {
        "wrist": (0.0, 0.0, 0.0),
        "index": (0.0, 0.016, -0.050),
        "pinky": (0.0, -0.016, -0.050),
    },
    "foot": {
        "ankle": (0.0, 0.0, 0.0),
        "heel": (0.0, -0.041, -0.033),
        "big_toe": (-0.006, 0.106, -0.037),
        "small_toe": (0.028, 0.082, -0.037),
    },
}
# What no detector sees goes with what is seen. The tip of the middle finger is farther from the
# wrist than the knuckles by this factor: hands of 185 mm, knuckles 92 and 80 mm from the wrist.
FINGERTIP = 108 / 50.5
# The ball of the foot, at 0.72 of a foot of 260 mm, is this share of the way to the big toe ahead
# of the ankle, and higher than the toe by this much of the stature.
BALL = (77 / 119, 0.005)
# Where BlazePose sees them instead: its heads are flat, its heels far forward, its knuckles close
# together. Robust means over rendered people whose turns are known (benchmarks/extremities.py).
BLAZEPOSE_SEES: Template = {
    "head": {
        "nose": (0.0, 0.046, 0.030),
        "eye": (0.014, 0.031, 0.047),
        "ear": (0.031, 0.009, 0.036),
    },
    "hand": {
        "wrist": (0.0, 0.003, -0.002),
        "index": (0.0, 0.010, -0.050),
        "pinky": (0.0, -0.002, -0.047),
    },
    "foot": {
        "ankle": (0.0, 0.0, 0.006),
        "heel": (-0.003, -0.021, -0.030),
        "big_toe": (0.0, 0.093, -0.029),
        "small_toe": TEMPLATE["foot"]["small_toe"],
    },
}
# And where its own 3D has them; the head about the middle of these points.
BLAZEPOSE_WORLD: Template = {
    "head": {
        "nose": (0.0, 0.029, -0.008),
        "eye": (0.009, 0.018, 0.010),
        "ear": (0.038, -0.032, -0.006),
    },
    "hand": {
        "wrist": (0.0, 0.0, 0.0),
        "index": (0.001, 0.005, -0.039),
        "pinky": (0.001, -0.007, -0.034),
    },
    "foot": {
        "ankle": (0.0, 0.0, 0.0),
        "heel": (0.0, 0.003, -0.024),
        "big_toe": (0.006, 0.054, -0.038),
        "small_toe": TEMPLATE["foot"]["small_toe"],
    },
}
