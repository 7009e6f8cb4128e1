"""One page that shows a lifted clip: the picture with its 2D joints beside the figure in 3D.

The page is one HTML file that loads nothing: styles, script, motion and (up to `EMBED_S`) the video
lie in it. Its content security policy lets the browser run the page's own script and refuse
everything else, so text from outside (titles, file names, metadata) can only ever be shown.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import html
import json
import os
import re
import secrets
import warnings
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
from numpy.typing import NDArray

from lithepose.arrays import Floats, Image
from lithepose.files import atomic_write
from lithepose.formats.record import json_ready
from lithepose.poses import MAX_GAP_S, Track3D, World
from lithepose.skeletons import SKELETONS
from lithepose.video import LONGEST_STEP_S, VideoWriter, open_video
from lithepose.view.draw import fit_view
from lithepose.world import NODE_PARENTS, NODES, joint_angles

# Longer videos lie beside the page: a minute is some 5 to 13 MB, a third more in the page.
EMBED_S = 60.0
MAX_LINES = 540
# Points that are only shown are stored as multiples of a step: half of this is the largest error.
_STEP_M = 0.0002
_MISSING = 65535  # in place of nan in arrays of steps
_ANGLE_STEP_DEG = 0.01
_QUATERNION_STEP = 1 / 32767  # a turn that is off by 0.01 degrees at most

# Camera axes turned upright: x stays, z becomes y, -y becomes z. World axes to camera axes.
_LEVEL = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])


class PageVideo:
    """A clip on its way into a page: at most `MAX_LINES` lines, in a form that browsers play.

    For code that decodes the frames anyway; `write_page` makes its own from the path of a video.
    Use it as a context manager: add every frame of the clip, then give it to `write_page` inside
    the `with` block. What no page has taken is removed at the end of the block.

    Args:
        page: path of the page that the clip is for; its folder is made if need be.
        size: (width, height) of the frames to come.
        fps: mean frame rate.

    Raises:
        ValueError: a size or rate that makes no video.
        OSError: the folder cannot be written to.
    """

    def __init__(self, page: str | os.PathLike[str], *, size: tuple[int, int], fps: float) -> None:
        page = Path(page)
        page.parent.mkdir(parents=True, exist_ok=True)
        zoom = min(1.0, MAX_LINES / max(size[1], 1))
        self.image_size = tuple(size)
        # H.264 has even sides.
        self.size = tuple(max(2, 2 * round(side * zoom / 2)) for side in size)
        self.frames = 0
        self.duration_s = 0.0
        self._last_s = 0.0
        # Whether its times are those of the frames: a video holds no steps of any length.
        self.in_time = True
        self._step_s = 1 / fps if fps > 0 else 0.0
        self._file = page.with_name(f".{page.stem[:40]}-{secrets.token_hex(4)}.mp4")
        self._writer = VideoWriter(
            self._file, size=(self.size[0], self.size[1]), fps=fps, compact=True
        )

    def add(self, image: Image, time_s: float) -> None:
        """Add a frame, (H, W, 3) upright RGB, shown at `time_s` seconds of the clip."""
        self.in_time = self.in_time and time_s - self._last_s <= LONGEST_STEP_S
        self._writer.write(_shrunk(image, self.size), time_s)
        step_s = self._step_s
        if self.frames and step_s > MAX_GAP_S:  # perhaps the mean of a clip with a hole
            step_s = min(step_s, time_s - self._last_s)
        self.frames += 1
        self._last_s = time_s
        self.duration_s = time_s + step_s

    def close(self) -> None:
        """Finish the clip; `write_page` does it too.

        Raises:
            ValueError: it has no frame.
        """
        self._writer.close()

    def read(self) -> bytes:
        """The file of a clip that is finished."""
        return self._file.read_bytes()

    def move_to(self, path: Path) -> None:
        """Let a clip that is finished take the place of `path`, in the page's folder."""
        self._file.replace(path)

    def __enter__(self) -> PageVideo:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # What was not finished by now is not wanted: the writer drops it as after an error.
        self._writer.__exit__(kind or ValueError, error, trace)
        self._file.unlink(missing_ok=True)


def write_page(
    path: str | os.PathLike[str],
    people: Sequence[Track3D],
    *,
    video: str | os.PathLike[str] | PageVideo | None = None,
    title: str | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
    fps: float | None = None,
) -> list[Path]:
    """Write the page of a lifted clip.

    Args:
        path: the HTML file, replaced if it exists; its folder is made if need be.
        people: the people of one clip, in the order in which they are offered.
        video: the clip the people were lifted from: a file, a folder of images, or frames that
            were added to a `PageVideo`. A clip longer than `EMBED_S` becomes `<stem>.page.mp4`
            beside the page, and the page shows it as long as the two stay together; a shorter one
            removes that of an earlier page of the same name. Without a video, or with one that
            stands still for longer than a video file can say (`LONGEST_STEP_S`), the 2D joints are
            shown on plain ground.
        title: heading; the name of the video, or else of the page.
        start_s, end_s, fps: range and rate of a video given as a path, as `open_video` takes them.

    Returns:
        The files: the page, and the video if it lies beside.

    Raises:
        ValueError: there are no people, they are of different clips, or the pictures of `video`
            have another size than theirs; or a `PageVideo` without frames.
        VideoError: the video cannot be read.
        OSError: a file cannot be written. An earlier page and its video stay as they were.

    Warns:
        UserWarning: `video` has more or fewer frames than the people. The page is written all the
            same: a damaged video may give a frame less when it is read again.
    """
    path = Path(path)
    _check(people)
    if title is None:
        named = path if video is None or isinstance(video, PageVideo) else Path(video)
        title = named.resolve().name if named.is_dir() else named.stem
    content = _content(people)
    if video is None:
        return _write(path, title, content, None)
    if isinstance(video, PageVideo):
        _check_size(people, video.image_size, "the clip")
        _finish(video, people, "the clip")
        return _write(path, title, content, video)
    with (
        open_video(video, start_s=start_s, end_s=end_s, fps=fps) as reader,
        PageVideo(path, size=reader.size, fps=reader.fps) as clip,
    ):
        _check_size(people, reader.size, str(video))
        for frame in reader:
            clip.add(frame.image, frame.time_s)
        _finish(clip, people, str(video))
        return _write(path, title, content, clip, keep=Path(video))


def _check_size(people: Sequence[Track3D], size: tuple[int, ...], name: str) -> None:
    if tuple(size) != tuple(people[0].image_size):
        raise ValueError(
            f"the people are of a video of {people[0].image_size} pixels, {name} has "
            f"{tuple(size)}: give the video that they were lifted from"
        )


def _finish(clip: PageVideo, people: Sequence[Track3D], name: str) -> None:
    """Finish the clip, and warn if it is longer or shorter than the people's."""
    clip.close()
    frames = len(people[0].time_s)
    if clip.frames != frames:
        warnings.warn(
            f"{name} has {clip.frames} frames, the people have {frames}: unless the video is "
            "damaged, give the range that they were lifted from",
            stacklevel=3,
        )


def _write(
    path: Path,
    title: str,
    content: dict[str, Any],
    clip: PageVideo | None,
    *,
    keep: Path | None = None,
) -> list[Path]:
    """Write the page with a finished clip in it or beside it; the file `keep` is never removed."""
    beside = path.with_name(f"{path.stem}.page.mp4")
    embedded = b""
    if clip is not None and not clip.in_time:  # it would show other frames than the figure's
        clip = None
    if clip is not None and clip.duration_s <= EMBED_S:
        embedded = clip.read()
    apart = clip is not None and not embedded
    # A name that is no Unicode text (bytes of another encoding) is shown with replacement signs.
    title = title.encode("utf-8", "replace").decode("utf-8")
    content["title"] = title
    content["video_url"] = quote(os.fsencode(beside.name)) if apart else None
    style, script = _asset("page.css"), _asset("page.js")
    media = "media-src blob:" if embedded else "media-src 'self' file:" if apart else ""
    policy = [
        "default-src 'none'",
        f"script-src '{_hash(script)}'",
        f"style-src '{_hash(style)}'",
        "img-src data: blob:",
        *([media] if media else []),
        "base-uri 'none'",
        "form-action 'none'",
    ]
    parts = {
        "title": html.escape(title),
        "policy": html.escape("; ".join(policy)),
        "style": style,
        "data": _json_in_html(content),
        "video": base64.b64encode(embedded).decode("ascii"),
        "script": script,
    }
    # One pass, so that nothing inside of a part is taken for the place of another.
    page = re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _asset("page.html"))
    with atomic_write(path) as temporary:
        # Bytes: line ends must stay as they were hashed.
        temporary.write_bytes(page.encode("utf-8"))
        if clip is not None and apart:
            # Not before the new page is on the disk: until then an earlier page keeps its video.
            clip.move_to(beside)
    if not embedded:
        return [path, beside] if apart else [path]
    if keep is None or not (beside.exists() and beside.samefile(keep)):
        # A page that is complete does not fail for a file that is left over.
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
    return [path]


def _asset(name: str) -> str:
    return (resources.files("lithepose.view") / "page" / name).read_bytes().decode("utf-8")


def _hash(text: str) -> str:
    """As a content security policy names an inline script or style."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _json_in_html(content: dict[str, Any]) -> str:
    """JSON in ASCII that can't end a script element, begin a comment or an entity."""
    text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return re.sub("[<>&]", lambda match: f"\\u{ord(match[0]):04x}", text)


def _shrunk(image: Image, size: tuple[int, ...]) -> Image:
    # Halving is a mean of 2 x 2: what remains is too little for a plain resize to alias.
    while image.shape[1] >= 2 * size[0] and image.shape[0] >= 2 * size[1]:
        half = image.shape[1] // 2, image.shape[0] // 2
        image = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_LINEAR), np.uint8)
    if image.shape[1::-1] == size:
        return image
    return np.asarray(
        cv2.resize(image, (size[0], size[1]), interpolation=cv2.INTER_LINEAR), np.uint8
    )


def _check(people: Sequence[Track3D]) -> None:
    if not people:
        raise ValueError("a page needs at least one person")
    first = people[0]
    if len(first.time_s) == 0:
        raise ValueError("a page needs at least one frame")
    for number, track in enumerate(people, 1):
        if (
            len(track.joints_camera) != len(first.time_s)
            or not np.array_equal(track.time_s, first.time_s)
            or tuple(track.image_size) != tuple(first.image_size)
        ):
            raise ValueError(
                f"person {number} is of another clip than person 1 (frames, times or image size "
                "differ): a page shows the people of one clip"
            )


# ---- The page's data -----------------------------------------------------------------------------


def _content(people: Sequence[Track3D]) -> dict[str, Any]:
    """What the page shows, JSON-ready; `page/src/data.js` reads it."""
    first = people[0]
    world = next((track.world for track in people if track.world is not None), None)
    if world is None:
        joints = np.stack([np.asarray(track.joints_camera, float) for track in people])
        rotation, position = _LEVEL, np.array([0.0, 0.0, fit_view(joints).floor_y])
    else:
        rotation, position = np.asarray(world.camera_rotation), np.asarray(world.camera_position)
    body = SKELETONS["h36m17"]
    return {
        "fps": float(first.fps),
        "image_size": [int(side) for side in first.image_size],
        "time_s": _stored(first.time_s, "float64"),
        "joint_names": list(SKELETONS["lithepose31"].joints),
        "parents": list(body.parents),
        "limbs": [list(limb) for limb in body.limbs],
        "rig_nodes": list(NODES),
        "rig_parents": list(NODE_PARENTS),
        "camera": {
            "rotation": np.asarray(rotation, float).tolist(),
            "position": np.asarray(position, float).tolist(),
            "known": world is not None,
        },
        "has_path": world is None or world.has_path,
        "people": [_person(track, rotation, position) for track in people],
    }


def _person(track: Track3D, rotation: Floats, position: Floats) -> dict[str, Any]:
    whole = track.points_camera is not None
    points = np.asarray(track.points_camera if whole else track.joints_camera, float)
    trust = track.confidence_3d if whole else track.confidence
    world = track.world
    if world is None:
        shown = points @ rotation + position  # the inverse of R (X - p)
    else:
        shown = np.asarray(world.points, float)[:, : points.shape[1]]
    return {
        "person": int(track.person),
        "focal_px": float(track.focal_px),
        "derived": np.asarray(track.derived, bool).tolist(),
        "points_camera": _stored(points, "float32"),
        "points_world": _stepped(shown, _STEP_M),
        "keypoints_2d": _stored(track.keypoints_2d, "float32"),
        "confidence": _shares(track.confidence),
        "confidence_3d": None if trust is None else _shares(trust),
        "contact": None if world is None else _stored(world.contact, "uint8"),
        "rig": None if world is None or not whole else _rig(world),
        "angles": {
            name: _stepped(values[:, None], _ANGLE_STEP_DEG)
            for name, values in _angles(track).items()
        },
        "facts": facts_of(track),
        "warnings": [str(text) for text in _listed(track.metadata.get("warnings"))],
        "metadata": json_ready(track.metadata),
    }


def _rig(world: World) -> dict[str, Any]:
    """What a result file says of the rig: the page doesn't draw it, but saves it."""
    return {
        "offsets": np.asarray(world.offsets, float).round(6).tolist(),
        "markers": np.asarray(world.markers, float).round(6).tolist(),
        "rotations": _stepped(world.rotations, _QUATERNION_STEP),
    }


def _angles(track: Track3D) -> dict[str, Floats]:
    if track.world is None:
        return {}
    return joint_angles(track.world.rotations)


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _stored(values: NDArray[Any], kind: str) -> dict[str, Any]:
    """An array as JSON: type, shape, and its little-endian bytes in base64."""
    array = np.ascontiguousarray(values, dtype=np.dtype(kind).newbyteorder("<"))
    data = base64.b64encode(array.tobytes()).decode("ascii")
    return {"type": kind, "shape": list(array.shape), "data": data}


def _shares(values: Floats) -> dict[str, Any]:
    """Values in [0, 1] in steps of 1/255; nan counts as 0."""
    return _stored(np.round(255 * np.clip(np.nan_to_num(values), 0, 1)), "uint8")


def _stepped(values: Floats, step: float) -> dict[str, Any]:
    """Values (..., C) as multiples of a step from the lowest of their channel, in 16 bits.

    Where the range is too wide for that they are stored as they are.
    """
    values = np.asarray(values, float)
    finite = np.isfinite(values).reshape(-1, values.shape[-1])
    flat = np.where(finite, values.reshape(-1, values.shape[-1]), np.nan)
    if not finite.any():
        low = span = np.zeros(values.shape[-1])
    else:
        low, high = (
            np.array([reduce(c[np.isfinite(c)], initial=0.0) for c in flat.T])
            for reduce in (np.min, np.max)
        )
        span = high - low
    if span.max(initial=0.0) / step >= _MISSING:
        return _stored(values, "float32")
    steps = np.where(finite, np.round((flat - low) / step), _MISSING)
    return _stored(steps.reshape(values.shape), "uint16") | {"step": step, "low": low.tolist()}


# ---- Facts ---------------------------------------------------------------------------------------

_UNITS = {"m": "m", "s": "s", "px": "px", "deg": "°", "mm": "mm", "fps": "frames/s", "hz": "Hz"}


def facts_of(track: Track3D) -> list[tuple[str, str]]:
    """What was assumed and measured, as pairs of label and value in plain words.

    Known entries of `Track3D.metadata` come first, in sentences of their own; all others follow
    with their names as they are. The warnings are left out: the page shows them apart.
    """
    left = dict(track.metadata)
    facts: list[tuple[str, str]] = []

    def tell(label: str, value: str) -> None:
        facts.append((label, value))

    height, known = left.pop("height_m", None), left.pop("height_known", None)
    if height is not None:
        tell("Height", f"{_plain(height)} m{_known(known, 'assumed')}")
    known = _known(left.pop("focal_known", None), "guessed")
    source = left.get("focal_from")
    if isinstance(source, str) and source in _LENS_FROM:
        known = f" ({_LENS_FROM[left.pop('focal_from')]})"
    degrees = np.degrees(2 * np.arctan(track.image_size[0] / 2 / track.focal_px))
    tell("Lens", f"{track.focal_px:.0f} px focal length, {degrees:.0f}° wide{known}")
    if track.world is not None:
        _tell_world(tell, track.world, left)
    else:
        tell("Floor", "not measured: the camera is taken as level, the lowest foot as standing")
    frames = left.pop("frames_with_person", None)
    if frames is not None:
        tell("Frames with the person", f"{frames} of {len(track.time_s)}")
    for name, label in _LABELS.items():
        value = left.pop(name, None)
        if value is not None:
            tell(label[0], label[1](value))
    left.pop("warnings", None)
    for name, value in left.items():
        if isinstance(value, dict):  # a stage's own facts, each on a line
            for inner, each in value.items():
                if each is not None:
                    tell(*_unnamed(f"{name} {inner}", each))
        elif value is not None:
            tell(*_unnamed(name, value))
    return facts


def _tell_world(tell: Callable[[str, str], None], world: World, left: dict[str, Any]) -> None:
    """The camera's place, the floor and what was done to the motion; takes them out of `left`."""
    done, motion = (
        dict(left.pop(name)) if isinstance(left.get(name), dict) else {}
        for name in ("world", "camera")
    )
    for name in ("path", "camera", "camera_height_m", "pitch_deg", "roll_deg"):
        done.pop(name, None)
    up = world.camera_rotation[:, 2]  # in camera axes
    height = _known(done.pop("camera_height_known", None), "estimated")
    tell("Camera height", f"{world.camera_position[2]:.2f} m above the floor{height}")
    told = _known(done.pop("up_known", None), "estimated")
    tell("Camera tilt", _tilt(up) + told)
    found = [done.pop(name, None) for name in ("standing_feet", "levels", "upright_s")]
    if None not in found:
        steps, levels, upright_s = found
        tell("Floor found from", f"{_plain(steps)} standing feet, {_plain(upright_s)} s upright")
        tell("Levels of floor", _plain(levels))
    # The reason has the other facts of the stage in it.
    if motion:
        tell("Camera motion", _plain(motion.get("reason", motion.get("kind"))))
    if not world.has_path:
        tell("Path", "not known, because the camera moved: people move on the spot")
    if "smooth_hz" in done:
        cut = done.pop("smooth_hz")
        tell("Smoothing", "none" if cut is None else f"low-pass at {_plain(cut)} Hz, no delay")
    for name, label in (("feet_held", "Standing feet held"), ("joints_limited", "Joints limited")):
        if name in done:
            tell(label, _plain(done.pop(name)))
    for name, label in _SHARES.items():
        value = done.pop(name, None)
        if isinstance(value, int | float):
            tell(label, f"{100 * value:.0f} % of frames")
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


def _said(after: str) -> Callable[[Any], str]:
    return lambda value: _plain(value) + after


_LABELS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "gaps": ("Gaps between them", _said("")),
    "max_gap_s": ("Gaps filled", lambda value: f"up to {_plain(value)} s"),
    "frames_exchanged": ("Left and right exchanged in", _said(" frames")),
    "mean_confidence": ("Mean confidence in 2D", _said("")),
    "reprojection_px": ("3D misses 2D by", _said(" px (median)")),
    "smoothing": ("Smoothing", _said("")),
    "floor": ("Floor", _said("")),
    "gravity": ("Upright direction", _said("")),
    "lifter": ("Network", _said("")),
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
