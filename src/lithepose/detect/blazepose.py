"""BlazePose: the default detector, two small networks and a crop that follows the person.

The detector network (`lithepose.detect.blazepose_detector`) finds people in a square picture of 224
pixels: of each, the middle of the hips and an alignment keypoint, which gives the size and tilt of
the body. From these two comes a rotated square crop, in which the landmark network places 33
landmarks, tells how likely there is a person at all, and predicts where the two are now: the crop
of the next frame. So the detector network is only needed at the start and after a loss.

Source: Bazarevsky et al., BlazePose: On-device Real-time Body Pose Tracking, 2020, and the tensor
layouts of the two files in `lithepose.assets.MODELS`, which run here on LiteRT without MediaPipe.
Landmarks are not smoothed over time: that is left to a later stage that sees both sides of a frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from lithepose.arrays import Floats, Image
from lithepose.assets import MODELS, model_path
from lithepose.detect import check_counts, check_frame
from lithepose.detect.blazepose_detector import (
    Crop,
    PersonDetector,
    are_hips_shared,
    search_tiles,
    sigmoid,
)
from lithepose.detect.litert import LiteRTNetwork
from lithepose.poses import Detections

# Names in the file of the landmark network. Its Identity_2, a mask of the person, is read by nobody
# and would be 39 % of its time.
LANDMARK_OUTPUTS = ("Identity", "Identity_1", "Identity_3", "Identity_4")
LANDMARKS = 33  # of the 39 points of the network; 33 and 34 make the next crop, the rest is unused

_SIZE = 256  # pixels, side of the crop that the landmark network sees
_MIN_PRESENCE = 0.5
_REFINE_WINDOW = 7  # heatmap cells
_REFINE_MIN_PEAK = 0.5
_MAX_LOST_S = 0.5  # how long a lost person is expected back at the same place
_MIN_SIDE = 24.0  # pixels; in a smaller crop there is nothing to see
_MAX_SIDE = 4.0  # in long sides of the frame
_SEARCH_AGAIN = 1.2  # side of the square searched for a lost person, in sides of the last crop


def refine_with_heatmaps(points: Floats, heatmaps: Floats) -> Floats:
    """Move landmarks to the nearby mass of their heatmaps.

    Each point becomes the mean of the 7 x 7 cells around it, weighted by the heatmap, if the
    largest of these reaches 0.5; a weaker heatmap says too little, and the point stays.

    Args:
        points: (N, 2) as fractions of the crop.
        heatmaps: (H, W, N) logits.

    Returns:
        (N, 2) as fractions of the crop.
    """
    height, width, count = heatmaps.shape
    reach = np.arange(_REFINE_WINDOW) - _REFINE_WINDOW // 2
    columns = np.floor(points[:, 0] * width).astype(int)[:, None] + reach  # (N, 7)
    rows = np.floor(points[:, 1] * height).astype(int)[:, None] + reach
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[
        :, None, :
    ]
    window = heatmaps[
        rows.clip(0, height - 1)[:, :, None],
        columns.clip(0, width - 1)[:, None, :],
        np.arange(count)[:, None, None],
    ]
    weight = np.where(inside, sigmoid(window), 0.0)  # (N, 7, 7)
    total = weight.sum(axis=(1, 2))
    strong = weight.max(axis=(1, 2)) >= _REFINE_MIN_PEAK
    divisor = np.where(strong, total, 1.0)
    x = (weight.sum(axis=1) * columns).sum(axis=1) / divisor / width
    y = (weight.sum(axis=2) * rows).sum(axis=1) / divisor / height
    return np.where(strong[:, None], np.stack([x, y], axis=1), points)


@dataclass(frozen=True)
class Candidate:
    """Who the landmark network sees in one crop, be there a person or not.

    Attributes:
        keypoints: (33, 2) pixels of the frame.
        confidence: (33,) in [0, 1], visibility times presence of each landmark.
        world: (33, 3) metres, camera axes, around the mid-hips.
        presence: in [0, 1], the probability of a person.
        crop: where the person was looked for.
        next_crop: where to look in the next frame.
    """

    keypoints: Floats
    confidence: Floats
    world: Floats
    presence: float
    crop: Crop
    next_crop: Crop

    @property
    def prominence(self) -> float:
        """Large and well seen: what makes someone the person that a clip is about."""
        return self.crop.side * self.presence * float(self.confidence.mean())


def is_near(crop: Crop, other: Crop) -> bool:
    """Whether two crops, some frames apart, may be of one person."""
    apart = np.hypot(crop.x - other.x, crop.y - other.y)
    return bool(apart < 0.5 * other.side and 0.5 < crop.side / other.side < 2)


def is_same_pose(person: Candidate, other: Candidate) -> bool:
    """Whether two crops ended up on one person; people who only pass each other differ."""
    apart = np.linalg.norm(person.keypoints - other.keypoints, axis=1)
    return bool(np.median(apart) < 0.05 * min(person.crop.side, other.crop.side))


def is_followable(person: Candidate, shape: tuple[int, int]) -> bool:
    """Whether there is a person in the crop, and one who can be followed to the next frame.

    Args:
        shape: (H, W) of the frame.
    """
    now, following = person.crop, person.next_crop
    height, width = shape
    apart = np.hypot(following.x - now.x, following.y - now.y)
    return bool(
        person.presence >= _MIN_PRESENCE
        and np.isfinite(person.keypoints).all()
        and _MIN_SIDE <= following.side <= _MAX_SIDE * max(shape)
        and 0.5 < following.side / now.side < 2
        and apart < 0.5 * now.side
        and -0.25 * following.side < following.x < width + 0.25 * following.side
        and -0.25 * following.side < following.y < height + 0.25 * following.side
    )


def _as_detections(people: Sequence[Candidate]) -> Detections:
    def stack(name: str, *shape: int) -> Floats:
        values = [getattr(person, name) for person in people]
        return np.array(values, dtype=np.float32).reshape(-1, *shape)

    return Detections(
        keypoints=stack("keypoints", LANDMARKS, 2),
        confidence=stack("confidence", LANDMARKS),
        score=stack("presence"),
        skeleton=BlazePose.skeleton,
        world=stack("world", LANDMARKS, 3),
    )


class BlazePose:
    """The default detector: one person, or several, in 33 landmarks with 3D.

    Not for use from several threads at once; make one for each.

    Attributes:
        skeleton: "blazepose33".
        facts: what a result notes of it.
    person_detector: the detector network.
    """

    skeleton = "blazepose33"
    facts: ClassVar[dict[str, Any]] = {
        "name": "blazepose",
        "files": {model.file: model.sha256 for model in MODELS.values()},
    }

    def __init__(
        self,
        people: int | Literal["one"] = "one",
        *,
        models: Path | None = None,
        threads: int = 1,
        search_interval: int = 10,
    ):
        """Load both networks.

        Args:
            people: the most people to follow. "one" is the same as 1: the largest, then the same
                person for as long as they can be found. With more, the frame is also searched in
                overlapping tiles, since the network finds few small people in the whole picture.
            models: folder of the model files; by default as `lithepose.assets` says.
            threads: CPU threads of each network. More than 2 bring little.
            search_interval: frames from one search in tiles to the next, while fewer people are
                followed than asked for.

        Raises:
            ValueError: `people`, `threads` or `search_interval` is below 1.
            lithepose.assets.ModelsError: the model files are absent and could not be fetched.
        """
        self.people = 1 if people == "one" else people
        check_counts(people=self.people, threads=threads, search_interval=search_interval)
        self.search_interval = search_interval
        self.person_detector = PersonDetector(models, threads)
        self._landmarks = LiteRTNetwork(
            model_path("pose_landmark_full", models), outputs=LANDMARK_OUTPUTS, threads=threads
        )
        self.reset()

    def reset(self) -> None:
        """Forget the people followed so far."""
        self._crops: list[Crop] = []
        self._lost: list[tuple[Crop, float]] = []  # where somebody was last, and when
        self._before: list[Crop] = []  # where the people were before a hole in time
        self._time_s = np.inf  # of the last frame
        self._since_search = self.search_interval  # the first frame is searched in tiles

    def detect(self, frame: Image, time_s: float) -> Detections:
        """Find the people in the next frame of a clip.

        Args:
            frame: (H, W, 3) RGB, upright.
            time_s: time stamp in seconds.

        Returns:
            Up to `people` people. All 33 landmarks are always placed, also where they are hidden
            or beyond the border; `confidence` (visibility times presence) tells which to trust.

        Raises:
            ValueError: the frame is not (H, W, 3) of uint8.
        """
        check_frame(frame)
        shape = frame.shape[:2]
        found: list[Candidate] = []
        self._before = []
        if time_s - self._time_s > _MAX_LOST_S:
            # Nobody is where they were: the frame is looked at like a first one.
            self._before, self._crops, self._lost = self._crops, [], []
            self._since_search = self.search_interval
        self._time_s = time_s
        for crop in self._crops:
            person = self.place_landmarks(frame, crop)
            if not is_followable(person, shape):
                self._lost.append((crop, time_s))
            elif not any(is_same_pose(person, other) for other in found):
                found.append(person)
        self._lost = [(crop, since) for crop, since in self._lost if time_s - since <= _MAX_LOST_S]

        self._since_search += 1
        if len(found) < self.people:
            found += self._search(frame, found)
        self._crops = [person.next_crop for person in found]
        return _as_detections(found)

    def _search(self, frame: Image, followed: Sequence[Candidate]) -> list[Candidate]:
        """People beyond those followed, as many as may be added, the most prominent first."""
        height, width = frame.shape[:2]
        squares = [Crop(crop.x, crop.y, _SEARCH_AGAIN * crop.side) for crop, _ in self._lost]
        if not followed:
            squares.insert(0, Crop(width / 2, height / 2, max(width, height)))
        if self._since_search >= self.search_interval:
            self._since_search = 0
            squares += search_tiles(width, height, fine=self.people > 1)

        find = self.person_detector.find
        candidates = [candidate for square in squares for candidate in find(frame, square)]
        candidates.sort(key=lambda candidate: candidate[1] * candidate[0].side, reverse=True)
        candidates += [(crop, 0.0) for crop in self._before]
        if self.people == 1 and self._lost:
            # Someone else would be a new person: for a moment only the lost one is welcome.
            lost = self._lost[-1][0]
            candidates = [c for c in candidates if is_near(c[0], lost)]
        added: list[Candidate] = []
        seen: list[Crop] = [person.crop for person in followed]
        for crop, _ in candidates:
            if any(are_hips_shared(crop, other) for other in seen):
                continue
            person = self.place_landmarks(frame, crop)
            if is_followable(person, (height, width)) and not any(
                are_hips_shared(person.next_crop, other.next_crop) for other in (*followed, *added)
            ):
                added.append(person)
                seen.append(crop)
        # After a hole in time, who may be somebody from before it goes first.
        added.sort(
            key=lambda person: (
                any(is_near(person.crop, crop) for crop in self._before),
                person.prominence,
            ),
            reverse=True,
        )
        added = added[: self.people - len(followed)]
        self._lost = [
            (crop, since)
            for crop, since in self._lost
            if not any(is_near(person.crop, crop) for person in added)
        ]
        return added

    def place_landmarks(self, frame: Image, crop: Crop) -> Candidate:
        """What the landmark network sees in a crop, be there a person or not."""
        picture = crop.cut(frame, _SIZE)
        self._landmarks.run(picture.astype(np.float32) / 255.0)
        output = self._landmarks.output
        points = output("Identity").reshape(-1, 5).astype(float)  # x, y, z, two logits
        places = refine_with_heatmaps(points[:, :2] / _SIZE, output("Identity_3"))
        places = crop.to_frame(places * _SIZE, _SIZE)
        visible, present = sigmoid(points[:LANDMARKS, 3:]).T
        world = output("Identity_4").reshape(-1, 3)[:LANDMARKS].astype(float)
        cos, sin = np.cos(crop.angle), np.sin(crop.angle)
        upright = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        return Candidate(
            keypoints=places[:LANDMARKS],
            confidence=visible * present,
            world=world @ upright.T,
            presence=float(output("Identity_1")[0]),
            crop=crop,
            next_crop=Crop.around(places[LANDMARKS], places[LANDMARKS + 1]),
        )
