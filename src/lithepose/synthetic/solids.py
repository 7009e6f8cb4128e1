"""The solids of a dressed person in the rest pose, and how their skin follows the bones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lithepose.anthropometry import SEGMENTS, STANDARD_HEIGHT_M
from lithepose.arrays import Floats
from lithepose.synthetic.appearance import Appearance
from lithepose.synthetic.bodies import BONE_INDEX, BONES, Body
from lithepose.synthetic.surface import Part, ellipsoid, limb, loft


def body_parts(body: Body, look: Appearance, joints: Floats) -> list[Part]:
    """Trunk, arms and legs, bare and dressed: the thicker of skin and cloth shows."""
    s, g = body.scale, body.scale * body.girth
    m = g * (0.5 + 0.5 * body.muscle)
    loose, trunk = look.loose, body.trunk

    # Trunk: (height in trunk lengths, half width, half depth, forward offset), metres at the mean.
    sections = np.array([
        (-0.21, 0.095, 0.070, -0.005), (-0.11, 0.152, 0.100, -0.012), (0.00, 0.168, 0.112, -0.014),
        (0.12, 0.164, 0.108, -0.008), (0.28, 0.148, 0.100, 0.004), (0.42, 0.138, 0.096, 0.006),
        (0.58, 0.146, 0.104, 0.004), (0.75, 0.160, 0.114, 0.002), (0.88, 0.162, 0.110, -0.004),
        (0.97, 0.148, 0.094, -0.010), (1.04, 0.108, 0.074, -0.018), (1.10, 0.062, 0.056, -0.024),
    ])  # fmt: skip
    height = sections[:, 0]
    hip_zone = np.clip(1 - np.abs(height) / 0.35, 0, 1)
    chest_zone = np.clip(1 - np.abs(height - 0.8) / 0.4, 0, 1)
    belly_zone = np.clip(1 - np.abs(height - 0.3) / 0.35, 0, 1)
    width = sections[:, 1] * g * (1 + (body.hips - 1) * hip_zone + (body.chest - 1) * chest_zone)
    width = width * (1 + 0.5 * (body.belly - 1) * belly_zone)
    # The outside follows the joints, so that a wide skeleton does not stick out of a slim trunk.
    wide = np.maximum(width, hip_zone * (body.hip_width / 2 + 0.055 * s))
    width = np.where(height < 0.5, wide, width)
    depth = sections[:, 2] * g * (1 + (body.chest - 1) * chest_zone)
    depth = depth * (1 + (body.belly - 1) * belly_zone)
    offset = sections[:, 3] * s + 0.08 * s * (body.belly - 1) * belly_zone
    hem = -look.shirt_hem
    cut = height * trunk
    under = cut < 0.6 * trunk
    above = np.concatenate([[hem], cut[cut > hem + 0.01]])

    def at(values: Floats) -> Floats:
        return np.interp(above, cut, values)

    parts = [
        loft("trunk", "trousers", cut[under], width[under] + 0.4 * loose,
             depth[under] + 0.4 * loose, offset[under]),
        loft("trunk", "shirt", above, at(width) + 0.4 * loose + 0.006,
             at(depth) + 0.4 * loose + 0.006, at(offset), blend=0.008),
    ]  # fmt: skip
    for side, name, hip, shoulder in ((1, "r", 1, 14), (-1, "l", 4, 11)):
        parts += _side_of_trunk(body, side, joints[shoulder])
        parts += _arm(look, m, name, *joints[shoulder : shoulder + 3])
        parts += _leg(look, g, m, name, *joints[hip : hip + 3])
    return parts


def _side_of_trunk(body: Body, side: int, shoulder: Floats) -> list[Part]:
    """Buttock, breast muscle or bust, slope of the shoulder."""
    s, g = body.scale, body.scale * body.girth
    m, high, bust = g * (0.5 + 0.5 * body.muscle), shoulder[2], 0.03 * body.bust
    acromion = shoulder + s * np.array([-side * 0.015, -0.008, 0.006])
    return [
        ellipsoid("pelvis", "trousers", (side * 0.075 * g, -0.068 * g, -0.035 * s),
                  (0.082 * g, 0.068 * g, 0.085 * g), blend=0.03),
        ellipsoid("chest", "shirt", (side * 0.075 * g, 0.062 * g + 0.6 * bust, high - 0.125 * s),
                  (0.075 * g, 0.045 * g + bust, 0.065 * g), blend=0.035),
        limb("chest", "shirt", (side * 0.045 * s, -0.02 * s, high + 0.058 * s), acromion,
             ((0, 0.042 * m), (1, 0.046 * m)), blend=0.04),
    ]  # fmt: skip


def _arm(
    look: Appearance, m: float, name: str, shoulder: Floats, elbow: Floats, wrist: Floats
) -> list[Part]:
    upper, lower, loose = f"{name}_upper_arm", f"{name}_forearm", look.loose
    arm = ((0, 0.049 * m), (0.25, 0.050 * m), (0.6, 0.043 * m), (1, 0.036 * m))
    fore = ((0, 0.037 * m), (0.25, 0.041 * m), (0.7, 0.031 * m), (1, 0.026 * m))
    biceps = ((0, 0.006 * m, 0), 0.5, 0.25)
    wider = tuple((t, r + 0.004 + loose * (0.6 + 0.6 * t)) for t, r in arm)
    parts = [
        ellipsoid(f"{name}_shoulder", "shirt", shoulder, (0.053 * m + 0.5 * loose,) * 3, 0.03),
        limb(upper, "skin", shoulder, elbow, arm, bulge=biceps),
        ellipsoid(f"{name}_elbow", "skin", elbow, (0.037 * m,) * 3),
        limb(lower, "skin", elbow, wrist, fore),
        limb(upper, "shirt", shoulder, elbow, wider, span=(0, min(look.sleeve, 1.0)),
             bulge=biceps, blend=0.01),
    ]  # fmt: skip
    if look.sleeve > 1:
        wider = tuple((t, r + 0.004 + loose) for t, r in fore)
        parts += [
            ellipsoid(f"{name}_elbow", "shirt", elbow, (0.040 * m + loose,) * 3),
            limb(lower, "shirt", elbow, wrist, wider, span=(0, look.sleeve - 1), blend=0.01),
        ]
    return parts


def _leg(
    look: Appearance, g: float, m: float, name: str, hip: Floats, knee: Floats, ankle: Floats
) -> list[Part]:
    upper, lower, loose = f"{name}_thigh", f"{name}_shin", look.loose
    thigh = ((0, 0.080 * g), (0.3, 0.079 * g), (0.7, 0.062 * g), (1, 0.050 * g))
    shin = ((0, 0.049 * g), (0.25, 0.052 * g), (0.6, 0.042 * g), (0.9, 0.033 * g), (1, 0.033 * g))
    calf = ((0, -0.014 * m, 0), 0.28, 0.22)
    kneecap = knee + np.array([0, 0.004, 0])
    wider = tuple((t, r + 0.003 + loose * (0.4 + 0.6 * t)) for t, r in thigh)
    parts = [
        ellipsoid(f"{name}_hip", "trousers", hip, (0.082 * g,) * 3, 0.03),
        limb(upper, "skin", hip, knee, thigh),
        ellipsoid(f"{name}_knee", "skin", kneecap, (0.051 * g,) * 3),
        limb(lower, "skin", knee, ankle, shin, bulge=calf),
        limb(upper, "trousers", hip, knee, wider, span=(0, min(look.leg, 1.0)), blend=0.01),
    ]
    if look.leg > 1:
        wider = tuple((t, r + 0.004 + loose * (1 + 0.6 * t)) for t, r in shin)
        parts += [
            ellipsoid(f"{name}_knee", "trousers", kneecap, (0.053 * g + loose,) * 3),
            limb(lower, "trousers", knee, ankle, wider, span=(0, look.leg - 1), bulge=calf,
                 blend=0.01),
        ]  # fmt: skip
    return parts


def foot_parts(body: Body, side: str) -> list[Part]:
    """A shoe around the ankle at the origin, toes along +y, sole at -ankle height."""
    s = body.scale
    bone = f"{side}_foot"
    out = 0.008 if side == "r" else -0.008
    return [
        limb(bone, "skin", (0, 0, 0.06 * s), (0, -0.005 * s, -0.03 * s),
              ((0, 0.033 * s), (1, 0.036 * s))),
        ellipsoid(bone, "shoes", (0, -0.022 * s, -0.048 * s), (0.036 * s, 0.050 * s, 0.048 * s)),
        ellipsoid(bone, "shoes", (out * s, 0.055 * s, -0.050 * s),
                   (0.042 * s, 0.085 * s, 0.042 * s), 0.03),
        ellipsoid(bone, "shoes", (out * s, 0.115 * s, -0.060 * s),
                   (0.046 * s, 0.070 * s, 0.028 * s), 0.03),
    ]  # fmt: skip


def hand_parts(body: Body, side: int) -> list[Part]:
    """A hand at the origin, fingers along -z, palm towards the body (-x for the right hand)."""
    s = body.scale
    bone = "r_hand" if side > 0 else "l_hand"
    parts = [
        limb(bone, "skin", (0, 0, 0.03 * s), (0, 0, -0.02 * s), ((0, 0.026 * s), (1, 0.024 * s))),
        ellipsoid(bone, "skin", (0, 0, -0.055 * s), (0.016 * s, 0.040 * s, 0.052 * s), 0.02),
        limb(bone, "skin", (0, 0.026 * s, -0.03 * s), (-side * 0.012 * s, 0.052 * s, -0.085 * s),
              ((0, 0.014 * s), (1, 0.010 * s)), blend=0.01),
    ]  # fmt: skip
    for finger, length in ((0.027, 0.165), (0.009, 0.180), (-0.010, 0.172), (-0.028, 0.148)):
        root = (0, finger * s, -0.085 * s)
        tip = (-side * 0.022 * s, 0.85 * finger * s, -length * s)
        thick = ((0, 0.0105 * s), (1, 0.0085 * s))
        parts.append(limb(bone, "skin", root, tip, thick, blend=0.006))
    return parts


def head_parts(body: Body, look: Appearance) -> list[Part]:
    """Head and neck around the base of the skull at the origin; y forward, z up."""
    h = body.head / (SEGMENTS["head"] * STANDARD_HEIGHT_M)
    nose_y, nose_z = body.nose_forward, body.nose_up
    g = np.sqrt(body.girth)

    def blob(material, centre, radii, blend=0.02):
        return ellipsoid("head", material, np.multiply(centre, h), np.multiply(radii, h), blend)

    parts = [
        limb("neck", "skin", (0, -0.028 * h, -body.neck - 0.02), (0, -0.014 * h, 0.02),
              ((0, 0.061 * h * g), (0.4, 0.051 * h * g), (1, 0.048 * h * g)), blend=0.02),
        blob("skin", (0, -0.014, 0.083), (0.075, 0.097, 0.0985)),
        blob("skin", (0, 0.026, 0.036), (0.061, 0.060, 0.084), 0.03),
        blob("skin", (0, 0.062, -0.024), (0.026, 0.026, 0.024), 0.03),  # chin
        blob("skin", (0, 0.071, 0.082), (0.045, 0.011, 0.009), 0.010),  # brow
        blob("lips", (0, 0.079, 0.002), (0.023, 0.009, 0.008), 0.006),
        limb("head", "skin", (0, nose_y - 0.022 * h, nose_z + 0.042 * h),
              (0, nose_y - 0.0125 * h, nose_z + 0.001 * h),
              ((0, 0.006 * h), (0.5, 0.009 * h), (1, 0.0135 * h)), blend=0.006),
        blob("skin", (0.013, 0.086, 0.026), (0.009, 0.010, 0.009), 0.006),  # nostrils
        blob("skin", (-0.013, 0.086, 0.026), (0.009, 0.010, 0.009), 0.006),
        blob("skin", (0.040, 0.052, 0.038), (0.022, 0.022, 0.022), 0.03),  # cheeks
        blob("skin", (-0.040, 0.052, 0.038), (0.022, 0.022, 0.022), 0.03),
        blob("skin", (0.077, -0.012, 0.048), (0.009, 0.017, 0.030), 0.006),  # ears
        blob("skin", (-0.077, -0.012, 0.048), (0.009, 0.017, 0.030), 0.006),
    ]  # fmt: skip
    places = _HAIR.get(look.hair_style, ()) + (_BEARD if look.beard else ())
    return parts + [blob(*place) for place in places]


# Solids of hair and caps: material, centre, radii, blend; metres on a head of the mean size.
_SHORT = (
    ("hair", (0, -0.024, 0.094), (0.083, 0.098, 0.096), 0.004),
    ("hair", (0, -0.062, 0.050), (0.074, 0.058, 0.072), 0.01),
    ("hair", (0, 0.040, 0.155), (0.058, 0.038, 0.030), 0.02),
)
_HAIR = {
    "short": _SHORT,
    "long": (
        *_SHORT,
        ("hair", (0, -0.066, -0.01), (0.080, 0.046, 0.105), 0.01),
        ("hair", (0.074, -0.02, 0.02), (0.022, 0.040, 0.090), 0.01),
        ("hair", (-0.074, -0.02, 0.02), (0.022, 0.040, 0.090), 0.01),
    ),
    "bun": (*_SHORT, ("hair", (0, -0.125, 0.120), (0.040, 0.035, 0.038), 0.01)),
    "cap": (
        ("second", (0, -0.012, 0.118), (0.086, 0.104, 0.075), 0.004),
        ("second", (0, 0.105, 0.110), (0.062, 0.060, 0.007), 0.006),
        ("hair", (0, -0.050, 0.060), (0.078, 0.062, 0.060), 0.004),
    ),
}
_BEARD = (("hair", (0, 0.052, -0.022), (0.052, 0.038, 0.036), 0.008),)


def materials_of(parts: list[Part], points: Floats) -> NDArray[np.str_]:
    distance = np.stack([part.distance(points) for part in parts])
    return np.array([part.material for part in parts])[distance.argmin(0)]


def bone_weights(parts: list[Part], points: Floats, body: Body) -> Floats:
    """(V, B) bone shares: each part pulls at the vertices near its surface."""
    softness = 0.014
    weights = np.zeros((len(points), len(BONES)))
    for part in parts:
        pull = np.exp(-np.maximum(part.distance(points), 0) / softness)
        shares: dict[str, Floats | float] = {part.bone: 1.0}
        if part.bone == "trunk":  # shared according to the height
            height = points[:, 2] / body.trunk
            pelvis = np.clip((0.42 - height) / 0.30, 0, 1)
            chest = np.clip((height - 0.42) / 0.30, 0, 1)
            pelvis, chest = (x * x * (3 - 2 * x) for x in (pelvis, chest))
            shares = {"pelvis": pelvis, "chest": chest, "waist": 1 - pelvis - chest}
        elif part.bone == "neck":
            rise = 2 * np.clip((points[:, 2] + body.neck) / body.neck, 0, 1) - 1
            shares = {"chest": np.clip(-rise, 0, 1), "neck": 1 - np.abs(rise),
                      "head": np.clip(rise, 0, 1)}  # fmt: skip
        for bone, share in shares.items():
            weights[:, BONE_INDEX[bone]] += pull * share
    return weights / weights.sum(-1, keepdims=True)
