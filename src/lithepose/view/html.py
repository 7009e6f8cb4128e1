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
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from lithepose.arrays import Image
from lithepose.files import atomic_write
from lithepose.poses import MAX_GAP_S, Track3D
from lithepose.video import LONGEST_STEP_S, VideoWriter, open_video
from lithepose.view.overlay import resized
from lithepose.view.page_data import content_of

# Longer videos lie beside the page: a minute is some 5 to 13 MB, a third more in the page.
EMBED_S = 60.0
MAX_LINES = 540


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
        width, height = (max(2, 2 * round(side * zoom / 2)) for side in size)
        self.size = width, height
        self.frames = 0
        self.duration_s = 0.0
        self._last_s = 0.0
        # Whether its times are those of the frames: a video holds no steps of any length.
        self.in_time = True
        self._step_s = 1 / fps if fps > 0 else 0.0
        self._file = page.with_name(f".{page.stem[:40]}-{secrets.token_hex(4)}.mp4")
        self._writer = VideoWriter(self._file, size=self.size, fps=fps, compact=True)

    def add(self, image: Image, time_s: float) -> None:
        """Add a frame, (H, W, 3) RGB, whole or shrunk to `size`, shown at so many seconds."""
        self.in_time = self.in_time and time_s - self._last_s <= LONGEST_STEP_S
        self._writer.write(resized(image, self.size), time_s)
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

    def __exit__(self, kind: type[BaseException] | None, *raised: Any) -> None:
        # What was not finished by now is not wanted: the writer drops it as after an error.
        self._writer.__exit__(kind or ValueError, *raised)
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
    content = content_of(people)
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
    if clip is not None and not clip.in_time:  # it would show other frames than the figure's
        clip = None
    embedded = clip.read() if clip is not None and clip.duration_s <= EMBED_S else b""
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
