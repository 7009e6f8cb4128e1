"""What `lift` is told beside the clip, as records that check themselves."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from lithepose.cameras import focal_from_fov
from lithepose.detect import Detector
from lithepose.world.solve import WorldOptions

People = Literal["one", "largest", "all"]
# Called with the stage, how many frames of it are done, and how many there are (None: unknown).
Report = Callable[[str, int, int | None], None]

DEFAULT_WORLD = WorldOptions()
HEIGHT_RANGE_M = (0.4, 2.6)
FOCAL_RANGE = (0.2, 20.0)  # of the image's long side


@dataclass(frozen=True)
class DetectorOptions:
    """How people and their joints are found in a video.

    Attributes:
        detector: name in `lithepose.detect.DETECTORS`, the path of a pose network's ONNX file, or a
            detector of your own.
        boxes: where a pose network looks for people: an ONNX file that finds them, or a file of
            boxes; BlazePose's own detector without it.
        preset: how the network's input is made, a name in `lithepose.detect.onnx_pose.PRESETS`.
        box_interval: frames from one look for boxes to the next; 1 without it.
        input_size: (width, height) of the network's pictures, for a file that takes any.
        models: folder of BlazePose's model files; by default they are fetched once.
        threads: by default two, or one on a single-core machine.
    """

    detector: str | os.PathLike[str] | Detector = "blazepose"
    _: KW_ONLY
    boxes: str | os.PathLike[str] | None = None
    preset: str | None = None
    box_interval: int | None = None
    input_size: tuple[int, int] | None = None
    models: str | os.PathLike[str] | None = None
    threads: int | None = None

    def of_network(self) -> dict[str, Any]:
        """What is set of that which only a pose network takes, by name."""
        names = ("boxes", "preset", "box_interval", "input_size")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def of_machine(self) -> dict[str, Any]:
        """Folder and threads, as every detector of ours takes them."""
        threads = self.threads or min(2, os.cpu_count() or 1)
        return {"threads": threads} | ({"models": Path(self.models)} if self.models else {})


@dataclass(frozen=True, kw_only=True)
class LiftOptions:
    """The keywords of `lithepose.lift`, which explains them; checked.

    Raises:
        ValueError: one cannot be right.
    """

    people: People = "one"
    height: float | None = None
    focal: float | None = None
    fov: float | None = None
    start: float | None = None
    end: float | None = None
    fps: float | None = None
    image_size: tuple[int, int] | None = None
    skeleton: str | None = None
    world: WorldOptions | None = DEFAULT_WORLD
    detector: str | os.PathLike[str] | Detector | DetectorOptions = "blazepose"

    def __post_init__(self) -> None:
        if self.people not in ("one", "largest", "all"):
            raise ValueError(f"people is {self.people!r}: known are one, largest, all")
        if self.focal is not None and self.fov is not None:
            raise ValueError("focal and fov say the same thing twice: give one of them")
        check_height(self.height)

    @classmethod
    def of(cls, keywords: dict[str, Any]) -> LiftOptions:
        """The options of keywords by name.

        Raises:
            TypeError: there is no such keyword; the message says in which record it is.
        """
        known = {each.name for each in fields(cls)}
        for name in keywords:
            if name not in known:
                moved = name in {each.name for each in fields(DetectorOptions)}
                advice = f": give detector=DetectorOptions({name}=...)" if moved else ""
                raise TypeError(f"lift has no keyword {name!r}{advice}")
        return cls(**keywords)

    @property
    def detecting(self) -> DetectorOptions:
        """The detector with its options, of which there may be none."""
        given = self.detector
        return given if isinstance(given, DetectorOptions) else DetectorOptions(given)

    @property
    def is_part(self) -> bool:
        """Whether a part of the clip is asked for."""
        return (self.start, self.end) != (None, None)

    def focal_px(self, image_size: tuple[int, int]) -> float | None:
        """The focal length that was given, in pixels; None if neither it nor a field of view was.

        Raises:
            ValueError: it is no camera's.
        """
        focal = self.focal if self.fov is None else focal_from_fov(self.fov, image_size)
        check_focal(focal, image_size)
        return focal


def check_height(height_m: float | None) -> None:
    """Refuse what is no person's height in metres."""
    if height_m is not None and not HEIGHT_RANGE_M[0] <= height_m <= HEIGHT_RANGE_M[1]:
        raise ValueError(
            f"height {height_m} m is not a person's: give metres between "
            f"{HEIGHT_RANGE_M[0]} and {HEIGHT_RANGE_M[1]}"
        )


def check_focal(focal_px: float | None, image_size: tuple[int, int]) -> None:
    """Refuse what is no camera's focal length in pixels."""
    if focal_px is not None and plausible_focal(focal_px, image_size) is None:
        low, high = (share * max(image_size) for share in FOCAL_RANGE)
        raise ValueError(
            f"focal length {focal_px:.6g} px is not a camera's for an image of "
            f"{image_size[0]}x{image_size[1]}: give pixels between {low:.0f} and {high:.0f}"
        )


def plausible_focal(focal_px: float | None, image_size: tuple[int, int]) -> float | None:
    """A focal length in pixels if it can be a camera's, else None."""
    low, high = (share * max(image_size) for share in FOCAL_RANGE)
    return focal_px if focal_px is not None and low <= focal_px <= high else None
