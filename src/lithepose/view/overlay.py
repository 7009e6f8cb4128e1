"""The clip with skeletons over it and the figures in 3D beside it, as a still or as a video."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import cv2
import numpy as np

from lithepose.arrays import Floats, Image
from lithepose.poses import Track3D
from lithepose.video import Frame, VideoWriter, open_video
from lithepose.view.scene3d import View3D, ViewPath, paint_floor, paint_people, paint_shadows
from lithepose.view.skeleton2d import paint_skeleton, paint_wires
from lithepose.view.strokes import (
    BACKGROUND,
    BODY,
    LEFT,
    QUIET_TEXT,
    RIGHT,
    TEXT,
    disc,
    subpixel,
    text_width,
    write_chip,
    write_text,
)

Overlay = Literal["observed", "reprojected", "both"]


class OverlayVideo:
    """A video on its way: the clip with the skeletons over it, the figures in 3D beside it.

    For code that decodes the frames anyway; `write_overlay` reads a clip by itself. Use it as a
    context manager; the file is complete or absent, and every frame keeps its own time.

    Args:
        path: the file to write, *.mp4.
        people: in the order in which they are numbered, over the frames that are to come.
        size: (width, height) of those frames.
        fps: their mean rate.
        max_lines: height of the written video in pixels, at most.
        overlay: what lies over the clip: the joints the detector saw, the 3D joints projected back
            into the picture, or both (the latter as thin lines).

    Raises:
        ValueError: the people do not belong together or to frames of this size.
        OSError: the file cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        people: Sequence[Track3D],
        *,
        size: tuple[int, int],
        fps: float,
        max_lines: int = 540,
        overlay: Overlay = "observed",
    ) -> None:
        frames = {len(track.time_s) for track in people}
        if len(frames) > 1:
            raise ValueError(f"the people are of different clips: {sorted(frames)} frames")
        self._composer = _Composer(size, people, max_lines, overlay)
        self._writer = VideoWriter(path, size=self._composer.size, fps=fps)
        self.clip_size = self._composer.clip_size  # of the clip in the picture
        self.frames = 0

    def add(self, image: Image, time_s: float) -> None:
        """Add a frame, (H, W, 3) RGB, whole or shrunk to `clip_size`."""
        self._writer.write(self._composer.compose(image, self.frames, time_s), time_s)
        self.frames += 1

    def __enter__(self) -> OverlayVideo:
        return self

    def __exit__(self, *raised: Any) -> None:
        self._writer.__exit__(*raised)


def write_overlay(
    path: str | os.PathLike[str],
    video: str | os.PathLike[str],
    people: Sequence[Track3D],
    *,
    max_lines: int = 540,
    overlay: Overlay = "observed",
    start_s: float | None = None,
    end_s: float | None = None,
    fps: float | None = None,
) -> int:
    """Write an `OverlayVideo` of a clip.

    Args:
        path, people, max_lines, overlay: as of `OverlayVideo`; there may be no people.
        video: the file or folder the people were lifted from.
        start_s, end_s, fps: as of `open_video`: the range that they were lifted from.

    Returns:
        The number of frames written.

    Raises:
        VideoError: the clip cannot be read.
        As `OverlayVideo` otherwise.
    """
    with (
        open_video(video, start_s=start_s, end_s=end_s, fps=fps) as reader,
        OverlayVideo(
            path, people, size=reader.size, fps=reader.fps, max_lines=max_lines, overlay=overlay
        ) as written,
    ):
        for frame in reader:
            written.add(frame.image, frame.time_s)
    if people and written.frames != len(people[0].time_s):
        warnings.warn(
            f"{video} has {written.frames} frames, the people {len(people[0].time_s)}: give the "
            "range that they were lifted from",
            stacklevel=2,
        )
    return written.frames


def draw_still(
    frame: Frame | Image,
    track: Track3D | Sequence[Track3D],
    index: int,
    *,
    max_lines: int = 540,
    overlay: Overlay = "observed",
) -> Image:
    """One frame of the picture that `write_overlay` makes.

    Args:
        frame: the frame of the clip, or its (H, W, 3) RGB image.
        track: the person or people.
        index: which of the tracks' frames this is, from 0.

    Returns:
        (H, W, 3) RGB, at most `max_lines` high.

    Raises:
        ValueError: there is no such frame, or the image has another size than the tracks' clip.
    """
    tracks = [track] if isinstance(track, Track3D) else list(track)
    for one in tracks:
        if not 0 <= index < len(one.time_s):
            raise ValueError(f"frame {index} is not one of the track's {len(one.time_s)} frames")
    image = frame.image if isinstance(frame, Frame) else frame
    time_s = float(tracks[0].time_s[index]) if tracks else 0.0
    composer = _Composer((image.shape[1], image.shape[0]), tracks, max_lines, overlay)
    return composer.compose(image, index, time_s).copy()


class _Composer:
    """Lays the clip and the 3D panel side by side, frame after frame, on one canvas."""

    # Below this the letters would be unreadable: small clips are enlarged.
    MIN_LINES = 360

    def __init__(
        self,
        clip_size: tuple[int, int],
        tracks: Sequence[Track3D],
        max_lines: int,
        overlay: Overlay,
    ) -> None:
        if max_lines < self.MIN_LINES:
            raise ValueError(f"the overlay needs at least {self.MIN_LINES} lines, not {max_lines}")
        for track in tracks:
            if tuple(track.image_size) != tuple(clip_size):
                raise ValueError(
                    f"the tracks are of a video of {track.image_size[0]} x {track.image_size[1]} "
                    f"pixels, this one has {clip_size[0]} x {clip_size[1]}"
                )
        self.tracks = tracks
        self.overlay = overlay
        clip_width, clip_height = clip_size
        # The clip fits in 16:9 of the lines, so that wide clips leave room for the panel.
        zoom = min(max_lines / clip_height, max_lines * 16 / 9 / clip_width)
        zoom = min(zoom, max(1.0, self.MIN_LINES / clip_height))
        self.zoom = zoom
        self.clip_size = max(2, round(clip_width * zoom)), max(2, round(clip_height * zoom))
        width, height = self.clip_size
        lines = max(height, self.MIN_LINES, round(0.42 * width))
        lines = min(lines + lines % 2, max_lines - max_lines % 2)
        panel_width = round(np.clip(0.62 * width, 0.72 * lines, lines))
        panel_width += (width + panel_width) % 2
        self.size = (width + panel_width, lines)
        self.top = (lines - height) // 2
        self.letter = max(13, round(lines / 36))
        self._canvas = np.full((lines, self.size[0], 3), BACKGROUND, np.uint8)
        self._path = ViewPath(tracks)
        # A copy of a blank panel is several times as fast as filling one with a colour.
        self._blank = np.full((lines, panel_width, 3), BACKGROUND, np.uint8)
        self._floor = np.empty_like(self._blank)
        self._floor_view: View3D | None = None

    def compose(self, image: Image, index: int, time_s: float) -> Image:
        """The picture for one frame; the same memory every time."""
        canvas = self._canvas
        width, height = self.clip_size
        clip, panel = canvas[self.top : self.top + height, :width], canvas[:, width:]
        np.copyto(clip, resized(image, self.clip_size))
        # Tracks are of one clip, whose video may be longer: all of them have this frame, or none.
        tracked = self.tracks if all(index < len(track.time_s) for track in self.tracks) else []
        self._paint_clip(clip, tracked, index)
        self._paint_panel(panel, tracked, index, time_s)
        return canvas

    def _paint_clip(self, clip: Image, tracks: Sequence[Track3D], index: int) -> None:
        for number, track in enumerate(tracks, 1):
            confidence = track.confidence[index]
            head = track.keypoints_2d[index] * self.zoom
            if self.overlay != "reprojected":
                paint_skeleton(clip, head, confidence, BODY, None)
            if self.overlay != "observed":
                again = _reproject(track, index) * self.zoom
                if self.overlay == "both":
                    paint_wires(clip, again)
                else:
                    paint_skeleton(clip, again, np.ones(17), BODY, None)
                head = np.where(np.isfinite(head), head, again)
            seen = head[np.isfinite(head).all(axis=1)]
            if len(seen):
                top = seen[np.argmin(seen[:, 1])]
                label = f"person {number}"
                write_chip(clip, label, (top[0], top[1] - 1.7 * self.letter), self.letter)

    def _paint_panel(
        self, panel: Image, tracks: Sequence[Track3D], index: int, time_s: float
    ) -> None:
        height, width = panel.shape[:2]
        view = self._path.at(index)
        if view != self._floor_view:  # a view that stays in place needs its floor once
            np.copyto(self._floor, self._blank)
            paint_floor(self._floor, view)
            self._floor_view = view
        np.copyto(panel, self._floor)
        if tracks:
            people = np.stack([track.joints_camera[index] for track in tracks])
            confidence = np.stack([track.confidence[index] for track in tracks])
            paint_shadows(panel, people, view)
            paint_people(panel, people, confidence, view)
            if len(self.tracks) > 1:
                self._label_people(panel, people, view)
        margin, letter = round(1.1 * self.letter), self.letter
        write_text(panel, f"{time_s:.2f} s", (margin, margin + letter), letter, TEXT)
        write_text(
            panel, f"frame {index}", (margin, margin + round(2.4 * letter)), letter, QUIET_TEXT
        )
        if not any(np.isfinite(track.joints_camera[index]).any() for track in tracks):
            note = "no person"
            left = width - margin - text_width(note, letter)
            write_text(panel, note, (left, margin + letter), letter, QUIET_TEXT)
        right, base = width - margin, height - margin
        for label, colour in (("right", RIGHT), ("left", LEFT)):
            right -= text_width(label, letter)
            write_text(panel, label, (right, base), letter, QUIET_TEXT)
            right -= round(0.7 * letter)
            spot = subpixel(np.array([right, base - 0.3 * letter]))
            disc(panel, spot, 0.28 * letter, colour)
            right -= letter

    def _label_people(self, panel: Image, people: Floats, view: View3D) -> None:
        height, width = panel.shape[:2]
        for number, joints in enumerate(people, 1):
            seen = joints[np.isfinite(joints).all(axis=1)]
            if len(seen):
                pixels, _, _ = view.project(seen, (width, height))
                top = pixels[np.argmin(pixels[:, 1])]
                if 0 <= top[0] < width and 0 <= top[1] < height:
                    above = float(top[0]), float(top[1]) - 1.6 * self.letter
                    write_chip(panel, str(number), above, self.letter)


def resized(image: Image, size: tuple[int, int]) -> Image:
    """The picture in another size, without the aliasing of a plain linear resize, at a fifth of the
    time of OpenCV's area averaging: halve (a fast mean of 2 x 2) until less than a half remains to
    do. The picture itself if it has that size."""
    width, height = size
    while image.shape[0] >= 2 * height and image.shape[1] >= 2 * width:
        half = image.shape[1] // 2, image.shape[0] // 2
        image = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_LINEAR), np.uint8)
    if image.shape[1::-1] == size:
        return image
    how = cv2.INTER_CUBIC if image.shape[0] < height else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=how), np.uint8)


def _reproject(track: Track3D, index: int) -> Floats:
    """(17, 2) pixels of the 3D joints in the clip; nan behind the camera."""
    x, y, z = track.joints_camera[index].T
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(z > 0.05, track.focal_px / z, np.nan)
    width, height = track.image_size
    return np.stack([width / 2 + x * ratio, height / 2 + y * ratio], axis=1)
