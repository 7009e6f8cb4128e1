"""Human3.6M, as VideoPose3D and as MotionBERT prepare it.

Seven subjects do fifteen actions twice before four cameras of 50 frames per second. 17 of the 32
recorded joints are used. `docs/data/human36m.md` says how to get the files.

Source: Ionescu et al., Human3.6M, TPAMI 2014. Joints, split and averaging: the protocol of
Pavllo et al., 3D human pose estimation in video with temporal convolutions, CVPR 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lithepose.arrays import Floats
from lithepose.cameras import Camera, denormalise_pixels, normalise_pixels
from lithepose.datasets import videopose3d
from lithepose.datasets.pickles import read_pickle
from lithepose.datasets.sequences import check_metres, checked_array, reprojection_px
from lithepose.datasets.videopose3d import Keypoints, PosesAndKeypoints, Positions, Preparation
from lithepose.rotations import from_quaternions

GUIDE = "docs/data/human36m.md"
POSITIONS_FILE = "data_3d_h36m.npz"
IMAGE_SPACE_FILE = "h36m_sh_conf_cam_source_final.pkl"

TRAIN = ("S1", "S5", "S6", "S7", "S8")
TEST = ("S9", "S11")
FPS = 50.0
SKELETON = "h36m17"
# Of the 32 joints in the file, in the order of h36m17.
JOINTS = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
# In the order of result tables. An error of the test set is the plain mean over these.
ACTIONS = (
    "Directions", "Discussion", "Eating", "Greeting", "Phoning", "Photo", "Posing", "Purchases",
    "Sitting", "SittingDown", "Smoking", "Waiting", "WalkDog", "Walking", "WalkTogether",
)  # fmt: skip
# Names in the original files -> names in result tables.
_RENAMED = {"TakingPhoto": "Photo", "WalkingDog": "WalkDog"}
# (subject, trial) whose video is corrupted: left out by everyone.
CORRUPTED = (("S11", "Directions"),)

# A file of projected joints is exact to rounding; detections miss by a few pixels, and by hundreds
# where cameras are confused.
_EXACT_PX, _DETECTED_PX = 1.0, 60.0

# Numbers of cameras are published in single precision; these are their shortest spellings.
# fmt: off
# The cameras' names in the order of the 2D files -> their lenses, the same for all subjects: height
# of the picture; focal lengths and centre in pixels; radial (3), tangential distortion (2).
_LENSES = {
    "54138969": (1002, 1145.0494, 1143.7811, 512.5415, 515.4515,
                 -0.20709892, 0.24777518, -0.0030751503, -0.0009756989, -0.0014244716),
    "55011271": (1000, 1149.6757, 1147.5917, 508.84863, 508.0649,
                 -0.19421363, 0.24040854, 0.0068199756, -0.0016190266, -0.0027408944),
    "58860488": (1000, 1149.1407, 1148.799, 519.81586, 501.40265,
                 -0.20833819, 0.255488, -0.0024604974, 0.001484387, -0.0007599993),
    "60457274": (1002, 1145.5114, 1144.7739, 514.9682, 501.88202,
                 -0.19838409, 0.21832368, -0.008947807, -0.0005872056, -0.001813362),
}
# Subject -> for each camera its orientation (quaternion w, x, y, z) and its place in millimetres.
_PLACES = {
    "S1": ((0.14070565, -0.15007018, -0.7552408, 0.62232804, 1841.107, 4955.2847, 1563.4454),
           (0.6157188, -0.7648363, -0.14833826, 0.11794741, 1761.2786, -5078.007, 1606.265),
           (0.14651473, -0.14647852, 0.76530236, -0.60941756, -1846.7777, 5215.0464, 1491.9724),
           (0.58340085, -0.7853162, 0.14548823, -0.14749594, -1794.7897, -3722.699, 1574.8927)),
    "S5": ((0.14673772, -0.16237096, -0.7551893, 0.6178939, 2097.3916, 4880.945, 1605.7324),
           (0.61597586, -0.7626792, -0.15728192, 0.1189815, 2031.7008, -5167.933, 1612.9231),
           (0.14291371, -0.12907842, 0.7678385, -0.6110143, -1620.5948, 5171.6587, 1496.437),
           (0.592048, -0.7814218, 0.12747486, -0.15036418, -1637.1737, -3867.3174, 1547.0332)),
    "S6": ((0.13378978, -0.15692396, -0.75710905, 0.61988795, 1935.4518, 4950.2456, 1618.0839),
           (0.61471975, -0.7628813, -0.16174768, 0.11819245, 1969.804, -5128.739, 1632.7788),
           (0.15299481, -0.13529131, 0.76460963, -0.6112781, -1769.5964, 5185.3613, 1476.9934),
           (0.59161013, -0.7804774, 0.1283227, -0.15615939, -1721.6687, -3884.1313, 1540.4879)),
    "S7": ((0.14352418, -0.16313368, -0.75483286, 0.6188825, 1974.513, 4926.3545, 1597.8326),
           (0.6141673, -0.76382625, -0.15966456, 0.117792994, 1937.0585, -5119.79, 1631.5665),
           (0.1455006, -0.12874816, 0.76605165, -0.61271393, -1741.8112, 5208.2495, 1464.8246),
           (0.5912848, -0.78217643, 0.12445474, -0.15196487, -1734.7106, -3832.4214, 1548.583)),
    "S8": ((0.14110588, -0.15589868, -0.75619173, 0.61964405, 2150.6519, 4896.161, 1611.9047),
           (0.61696017, -0.7647668, -0.1484635, 0.11158158, 2219.9656, -5148.453, 1613.0441),
           (0.1471444, -0.1337712, 0.76701283, -0.61003697, -1571.2216, 5137.0186, 1498.1761),
           (0.59278244, -0.78258705, 0.12147816, -0.14631996, -1476.9133, -3896.7412, 1547.9722)),
    "S9": ((0.15540588, -0.15548216, -0.75320953, 0.6199595, 2044.4585, 4935.117, 1481.2275),
           (0.6187845, -0.7634735, -0.14132239, 0.11933968, 1990.9597, -5123.8105, 1568.8048),
           (0.13357827, -0.13671005, 0.76894546, -0.61007386, -1670.9922, 5211.986, 1528.388),
           (0.5879399, -0.7823407, 0.14276144, -0.1479487, -1696.0435, -3827.0999, 1591.4127)),
    "S11": ((0.15232472, -0.1544232, -0.75475633, 0.619107, 2098.4402, 4926.5547, 1500.2786),
            (0.61894494, -0.7600917, -0.15300633, 0.12552583, 2083.1824, -4912.173, 1561.0786),
            (0.14943229, -0.15650228, 0.7681234, -0.60263044, -1609.8153, 5177.336, 1537.8967),
            (0.58942515, -0.7818877, 0.13991211, -0.14715362, -1590.738, -3854.169, 1578.0176)),
}
# fmt: on
CAMERAS = tuple(_LENSES)


def action_of(trial: str) -> str:
    """The action of a trial: "Walking 1" -> "Walking"."""
    return trial.split(" ")[0]


@cache
def camera(subject: str, name: str) -> Camera:
    """A camera as it stood before a subject.

    Raises:
        ValueError: an unknown subject or camera; S2, S3 and S4 have no public 3D and no entry.
    """
    if subject not in _PLACES:
        raise ValueError(f"no cameras of subject {subject!r}; known: {', '.join(_PLACES)}")
    if name not in CAMERAS:
        raise ValueError(f"no camera named {name!r}; known: {', '.join(CAMERAS)}")
    place = np.array(_PLACES[subject][CAMERAS.index(name)], np.float32).astype(float)
    height, *lens = _LENSES[name]
    lens = np.array(lens, np.float32).tolist()
    return Camera(
        # The published orientation turns camera axes into world axes.
        rotation=from_quaternions(place[:4]).T,
        position=place[4:] / 1000,
        image_size=(1000, height),
        focal_px=(lens[0], lens[1]),
        centre_px=(lens[2], lens[3]),
        radial=tuple(lens[4:7]),
        tangential=tuple(lens[7:]),
    )


def _placed(subject: str, name: str) -> tuple[Floats, Floats, tuple[int, int], Camera]:
    seen_by = camera(subject, name)
    return seen_by.rotation, seen_by.position, seen_by.image_size, seen_by


PREPARATION = Preparation(
    guide=GUIDE,
    skeleton=SKELETON,
    fps=FPS,
    actions=ACTIONS,
    cameras=CAMERAS,
    action_of=action_of,
    placed=_placed,
)


def read_positions(path: str | Path) -> Positions:
    """Read `data_3d_h36m.npz`: subject -> trial -> (T, 17, 3) float32, metres, world axes.

    The corrupted trial is left out. Names of actions are those of result tables.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or not this file (see also `lithepose.datasets.pickles`).
    """
    path = PREPARATION.file(path)
    positions: Positions = {}
    for subject, trials in videopose3d.read_positions(path, joints=32).items():
        if subject not in _PLACES:
            raise ValueError(
                f"{path}: subject {subject!r} has no cameras here; known: {', '.join(_PLACES)}"
            )
        positions[subject] = {}
        for trial, points in trials.items():
            name = _table_name(trial)
            if action_of(name) not in ACTIONS:
                raise ValueError(f"{path}: {subject} {trial!r} is no action of Human3.6M")
            if (subject, name) not in CORRUPTED:
                positions[subject][name] = points[:, JOINTS].astype(np.float32)
    check_metres((p for trials in positions.values() for p in trials.values()), SKELETON, path)
    return positions


def _table_name(trial: str) -> str:
    action, space, number = trial.partition(" ")
    return _RENAMED.get(action, action) + space + number


def read_keypoints(path: str | Path) -> Keypoints:
    """Read `data_2d_h36m_*.npz`: exact or detected 2D joints in pixels.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or not such a file, or of joints that are not known.
    """
    read = videopose3d.read_keypoints(PREPARATION.file(path), cameras=len(CAMERAS))
    tracks = {
        subject: {_table_name(trial): views for trial, views in trials.items()}
        for subject, trials in read.tracks.items()
    }
    return Keypoints(path=read.path, tracks=tracks, skeleton=read.skeleton)


def join(positions: Positions, keypoints: Keypoints) -> PosesAndKeypoints:
    """Put 3D and 2D together, after looking whether they belong together.

    Raises:
        ValueError: the 2D file lacks a trial or frames, or its joints lie elsewhere than the
            projected 3D joints: other cameras, another order of cameras, or no lens distortion.
    """
    both = PosesAndKeypoints(preparation=PREPARATION, positions=positions, keypoints=keypoints)
    distances: dict[str, list[Floats]] = {}
    for sequence in both.sequences():
        if keypoints.skeleton == SKELETON:
            every = slice(None, None, max(len(sequence) // 5, 1))
            distances.setdefault(sequence.view, []).append(reprojection_px(sequence, every))
    if not distances:
        return both
    exact = keypoints.path.stem.endswith("_gt")
    limit = _EXACT_PX if exact else _DETECTED_PX
    # A detector that lost its person, or a drifting capture, is no reason to refuse detections.
    judge = np.max if exact else np.median
    typical = max(float(judge(np.concatenate(of_view))) for of_view in distances.values())
    if not typical <= limit:
        raise ValueError(
            f"{keypoints.path}: the 2D joints lie {typical:.1f} px from the projected 3D joints, "
            f"expected at most {limit:g}: the file belongs to other 3D data, orders its cameras "
            "otherwise, or was projected without the lens distortion"
        )
    return both


def read_human36m(folder: str | Path, keypoints: str = "gt") -> PosesAndKeypoints:
    """Read the 3D file and one 2D file of a folder, and look whether they belong together.

    Args:
        folder: holds `data_3d_h36m.npz` and `data_2d_h36m_<keypoints>.npz`.
        keypoints: "gt" for the projected 3D joints, "cpn_ft_h36m_dbb" for the usual detections.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged, of another layout, or does not belong to the other.
    """
    folder = Path(folder)
    positions = read_positions(folder / POSITIONS_FILE)
    return join(positions, read_keypoints(folder / f"data_2d_h36m_{keypoints}.npz"))


# MotionBERT's preparation: poses in the picture, depth in pixels.

# Videos of S9 whose recorded position drifts; MotionBERT and MotionAGFormer leave them out, the
# preparation above keeps them. Numbers of the two don't belong in one column.
DRIFTING = ("s_09_act_05_subact_02", "s_09_act_10_subact_02", "s_09_act_13_subact_01")

_SPLITS = ("train", "test")


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSpaceSplit:
    """Training or test frames of MotionBERT's file, N frames of all videos one after another.

    Attributes:
        keypoints: (N, 17, 2) float32, pixels, detected.
        confidence: (N, 17) float32; 1 where the file has none.
        joints_image: (N, 17, 3) float32, x and y in pixels, and z in pixels at the root's depth.
        source: (N,) the video a frame is of, "s_09_act_05_subact_02_ca_01".
        action: (N,) as the file names it.
        camera: (N,) a name of `CAMERAS`.
        image_size: (N, 2) width and height in pixels.
        metres_per_px: (N,) what turns `joints_image` into metres; None in the training frames.
        joints: (N, 17, 3) float32, metres, the truth of the test frames; None in training.
    """

    keypoints: Floats
    confidence: Floats
    joints_image: Floats
    source: NDArray[np.str_]
    action: NDArray[np.str_]
    camera: NDArray[np.str_]
    image_size: NDArray[np.int64]
    metres_per_px: Floats | None
    joints: Floats | None

    def __len__(self) -> int:
        return len(self.keypoints)

    @property
    def kept(self) -> NDArray[np.bool_]:
        """(N,) bool, false for the frames of the videos in `DRIFTING`."""
        return ~np.array([source.startswith(DRIFTING) for source in self.source], bool)

    @property
    def videos(self) -> list[tuple[int, int]]:
        """First frame, and the one after the last, of each video."""
        starts = [0, *(np.flatnonzero(self.source[1:] != self.source[:-1]) + 1), len(self)]
        return [(int(a), int(b)) for a, b in pairwise(starts)]

    def clips(self, frames: int, stride: int, random: np.random.Generator) -> NDArray[np.int64]:
        """Which frames make the clips of MotionBERT's training (stride 81) and test (stride 243).

        A clip stays within its video. What is left behind the last full clip is dropped, unless the
        video is shorter than one clip: then it is stretched to one, each place taking the frame
        before or after it by chance.

        Args:
            frames: T, frames of a clip.
            stride: frames from the start of a clip to the start of the next.

        Returns:
            (clips, T) indices of frames.
        """
        clips = []
        for first, after in self.videos:
            length = after - first
            if length < frames:
                even = np.arange(frames) * (length / frames)
                up = random.integers(2, size=frames).astype(bool)
                drawn = np.where(up, np.ceil(even), np.floor(even))
                clips.append(first + np.sort(np.minimum(drawn, length - 1)).astype(np.int64))
            for start in range(first, after - frames + 1, stride):
                clips.append(np.arange(start, start + frames))
        return np.stack(clips)

    def inputs(self, frames: NDArray[np.int64]) -> Floats:
        """What the lifter gets: x and y of the screen (width in [-1, 1]) and confidence.

        Args:
            frames: (...) indices.

        Returns:
            (..., 17, 3) float32.
        """
        screen = normalise_pixels(self.keypoints[frames], self._size(frames))
        return np.concatenate([screen, self.confidence[frames][..., None]], -1)

    def labels(self, frames: NDArray[np.int64]) -> Floats:
        """What the lifter should give, (..., 17, 3) float32: x and y of the screen, z in the same
        scale. Training on relative poses subtracts joint 0."""
        image = self.joints_image[frames]
        screen = normalise_pixels(image[..., :2], self._size(frames))
        return np.concatenate([screen, image[..., 2:] * (2 / self._width(frames))], -1)

    def to_metres(self, lifted: Floats, frames: NDArray[np.int64]) -> Floats:
        """Poses (..., 17, 3) of the kind of `labels` as metres relative to the root.

        Raises:
            ValueError: these are training frames, which have no factor.
        """
        if self.metres_per_px is None:
            raise ValueError("only the test frames have factors from pixels to metres")
        pixels = denormalise_pixels(lifted[..., :2], self._size(frames))
        image = np.concatenate([pixels, lifted[..., 2:] * (self._width(frames) / 2)], -1)
        metres = image * self.metres_per_px[frames][..., None, None]
        return metres - metres[..., :1, :]

    def _size(self, frames: NDArray[np.int64]) -> NDArray[np.int64]:
        return self.image_size[frames][..., None, :]

    def _width(self, frames: NDArray[np.int64]) -> Floats:
        return self.image_size[frames][..., None, :1].astype(np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSpace:
    """MotionBERT's `h36m_sh_conf_cam_source_final.pkl`: its training and its test frames."""

    train: ImageSpaceSplit
    test: ImageSpaceSplit


def read_image_space(path: str | Path) -> ImageSpace:
    """Read MotionBERT's preparation (stacked-hourglass detections, poses in the picture).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or lacks a field, or its fields differ in length (see also
            `lithepose.datasets.pickles`).
    """
    path = PREPARATION.file(path)
    file = read_pickle(path)
    if not isinstance(file, dict) or not all(isinstance(file.get(s), dict) for s in _SPLITS):
        raise ValueError(f"{path} should hold the dictionaries train and test: it is another file")
    return ImageSpace(**{split: _read_split(file[split], split, path) for split in _SPLITS})


def _read_split(stored: dict[str, Any], split: str, path: Path) -> ImageSpaceSplit:
    names = ["joint_2d", "joint3d_image", "source", "action", "camera_name"]
    if split == "test":
        names += ["2.5d_factor", "joints_2.5d_image"]
    missing = [name for name in names if name not in stored]
    if missing:
        raise ValueError(f"{path}: {split} has no {', '.join(missing)}")
    what = f"{path}: {split} "
    keypoints = np.asarray(stored["joint_2d"])
    if keypoints.ndim == 3:
        keypoints = keypoints[..., :2]  # MotionBERT takes no more of it either
    keypoints = checked_array(keypoints, (None, 17, 2), what + "joint_2d").astype(np.float32)
    count = len(keypoints)

    def of_frames(name: str, *shape: int) -> Floats:
        return checked_array(stored[name], (count, *shape), what + name).astype(np.float32)

    texts = {name: np.asarray(stored[name], str) for name in ("source", "action", "camera_name")}
    for name, values in texts.items():
        if values.shape != (count,):
            raise ValueError(f"{what}{name} is of shape {values.shape}, expected ({count},)")
    cameras, which = np.unique(texts["camera_name"], return_inverse=True)
    strange = sorted({str(name) for name in cameras} - set(CAMERAS))
    if strange:
        raise ValueError(f"{what}camera_name has {', '.join(strange)}; known: {', '.join(CAMERAS)}")
    confidence = np.ones((count, 17), np.float32)
    if "confidence" in stored:
        scores = np.asarray(stored["confidence"])
        if scores.ndim == 3 and scores.shape[-1] == 1:
            scores = scores[..., 0]
        confidence = checked_array(scores, (count, 17), what + "confidence").astype(np.float32)
    test = split == "test"
    return ImageSpaceSplit(
        keypoints=keypoints,
        confidence=confidence,
        joints_image=of_frames("joint3d_image", 17, 3),
        source=texts["source"],
        action=texts["action"],
        camera=texts["camera_name"],
        image_size=np.array([(1000, _LENSES[str(name)][0]) for name in cameras])[which],
        metres_per_px=of_frames("2.5d_factor") / 1000 if test else None,
        joints=of_frames("joints_2.5d_image", 17, 3) / 1000 if test else None,
    )
