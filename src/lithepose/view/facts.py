"""What was assumed and measured, in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from lithepose.arrays import Floats
from lithepose.formats.record import json_ready
from lithepose.poses import Track3D, World

_UNITS = {"m": "m", "s": "s", "px": "px", "deg": "°", "mm": "mm", "fps": "frames/s", "hz": "Hz"}


def facts_of(track: Track3D) -> list[tuple[str, str]]:
    """What was assumed and measured, as pairs of label and value in plain words.

    Known entries of `Track3D.metadata` come first, in sentences of their own; all others follow
    with their names as they are. The warnings are left out: the page shows them apart.
    """
    return list(_told(track, dict(track.metadata)))


def _told(track: Track3D, left: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The facts; `left` holds those that were not told yet."""
    height, known = left.pop("height_m", None), _known(left.pop("height_known", None), "assumed")
    if height is not None:
        yield "Height", f"{_plain(height)} m{known}"
    known = _known(left.pop("focal_known", None), "guessed")
    source = left.get("focal_from")
    if isinstance(source, str) and source in _LENS_FROM:
        known = f" ({_LENS_FROM[left.pop('focal_from')]})"
    degrees = np.degrees(2 * np.arctan(track.image_size[0] / 2 / track.focal_px))
    yield "Lens", f"{track.focal_px:.0f} px focal length, {degrees:.0f}° wide{known}"
    if track.world is not None:
        yield from _told_of_world(track.world, left)
    else:
        yield "Floor", "not measured: the camera is taken as level, the lowest foot as standing"
    for name, (label, text) in _LABELS.items():
        value = left.pop(name, None)
        if value is not None:
            yield label, text.format(_plain(value), frames=len(track.time_s))
    left.pop("warnings", None)
    for name, value in left.items():
        # A stage's own facts come each on a line.
        own = {"": value} if not isinstance(value, dict) else value
        for inner, each in own.items():
            if each is not None:
                yield _unnamed(f"{name} {inner}".rstrip(), each)


def _told_of_world(world: World, left: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The camera's place, the floor and what was done to the motion."""
    done, motion = (
        dict(left.pop(name)) if isinstance(left.get(name), dict) else {}
        for name in ("world", "camera")
    )
    for name in ("path", "camera", "camera_height_m", "pitch_deg", "roll_deg"):
        done.pop(name, None)
    height = _known(done.pop("camera_height_known", None), "estimated")
    yield "Camera height", f"{world.camera_position[2]:.2f} m above the floor{height}"
    tilt = _tilt(world.camera_rotation[:, 2])  # up, in camera axes
    yield "Camera tilt", tilt + _known(done.pop("up_known", None), "estimated")
    steps, levels, upright_s = (
        done.pop(name, None) for name in ("standing_feet", "levels", "upright_s")
    )
    if None not in (steps, levels, upright_s):
        yield "Floor found from", f"{_plain(steps)} standing feet, {_plain(upright_s)} s upright"
        yield "Levels of floor", _plain(levels)
    # The reason has the other facts of the stage in it.
    if motion:
        yield "Camera motion", _plain(motion.get("reason", motion.get("kind")))
    if not world.has_path:
        yield "Path", "not known, because the camera moved: people move on the spot"
    if "smooth_hz" in done:
        cut = done.pop("smooth_hz")
        yield "Smoothing", "none" if cut is None else f"low-pass at {_plain(cut)} Hz, no delay"
    for name, label in (("feet_held", "Standing feet held"), ("joints_limited", "Joints limited")):
        if name in done:
            yield label, _plain(done.pop(name))
    for name, label in _SHARES.items():
        value = done.pop(name, None)
        if isinstance(value, int | float):
            yield label, f"{100 * value:.0f} % of frames"
    if done:
        left["world"] = done


def _tilt(up: Floats) -> str:
    """How a camera is held that has the vertical (3,) in its axes, to the degree."""
    pitch = np.degrees(np.arcsin(np.clip(up[2], -1, 1)))
    roll = np.degrees(np.arctan2(up[0], -up[1]))
    way = "level" if abs(pitch) < 0.5 else f"{abs(pitch):.0f}° {'up' if pitch > 0 else 'down'}"
    if abs(roll) < 0.5:
        return way
    return f"{way}, picture turned {abs(roll):.0f}° {'' if roll > 0 else 'anti'}clockwise"


_LENS_FROM = {"given": "given", "file": "noted in the file", "guess": "guessed"}


def _known(known: Any, otherwise: str) -> str:
    return " (given)" if known is True else f" ({otherwise})" if known is False else ""


_SHARES = {"standing_share": "A foot stands in", "frames_limited_share": "Joint limits met in"}


# {} is the value, in words.
_LABELS = {
    "frames_with_person": ("Frames with the person", "{} of {frames}"),
    "gaps": ("Gaps between them", "{}"),
    "max_gap_s": ("Gaps filled", "up to {} s"),
    "frames_exchanged": ("Left and right exchanged in", "{} frames"),
    "mean_confidence": ("Mean confidence in 2D", "{}"),
    "reprojection_px": ("3D misses 2D by", "{} px (median)"),
    "smoothing": ("Smoothing", "{}"),
    "floor": ("Floor", "{}"),
    "gravity": ("Upright direction", "{}"),
    "lifter": ("Network", "{}"),
}


def _unnamed(name: str, value: Any) -> tuple[str, str]:
    words = str(name).split("_")
    unit = _UNITS.get(words[-1]) if len(words) > 1 else None
    if unit is not None:
        words = words[:-1]
    label = " ".join(words)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    after = "" if unit is None or not number else unit if unit == "°" else f" {unit}"
    return label[:1].upper() + label[1:], _plain(value) + after


def _plain(value: Any) -> str:
    """A metadata value as a reader says it."""
    value = json_ready(value)
    if value is None:
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
    if isinstance(value, list):
        return ", ".join(_plain(one) for one in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{' '.join(_unnamed(k, v))}" for k, v in value.items()) or "none"
    return str(value)
