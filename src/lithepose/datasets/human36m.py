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
from lithepose.cameras import (
    Camera,
    denormalise_pixels,
    normalise_pixels,
)
from lithepose.datasets import videopose3d
from lithepose.datasets.pickles import read_pickle
from lithepose.datasets.sequences import (
    check_metres,
    checked_array,
    reprojection_px,
)
from lithepose.datasets.videopose3d import (
    Keypoints,
    PosesAndKeypoints,
    Positions,
    Preparation,
)
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

# The cameras' names in the order of the 2D files -> their lenses, the same for all subjects.
_LENSES: dict[str, dict[str, Any]] = {
    "54138969": {
        "image_size": (1000, 1002),
        "focal_px": (1145.0494384765625, 1143.7811279296875),
        "centre_px": (512.54150390625, 515.4514770507812),
        "radial": (-0.20709891617298126, 0.24777518212795258, -0.0030751503072679043),
        "tangential": (-0.0009756988729350269, -0.00142447161488235),
    },
    "55011271": {
        "image_size": (1000, 1000),
        "focal_px": (1149.6756591796875, 1147.5916748046875),
        "centre_px": (508.8486328125, 508.0649108886719),
        "radial": (-0.1942136287689209, 0.2404085397720337, 0.006819975562393665),
        "tangential": (-0.0016190266469493508, -0.0027408944442868233),
    },
    "58860488": {
        "image_size": (1000, 1000),
        "focal_px": (1149.1407470703125, 1148.7989501953125),
        "centre_px": (519.8158569335938, 501.40264892578125),
        "radial": (-0.2083381861448288, 0.25548800826072693, -0.0024604974314570427),
        "tangential": (0.0014843869721516967, -0.0007599993259645998),
    },
    "60457274": {
        "image_size": (1000, 1002),
        "focal_px": (1145.5113525390625, 1144.77392578125),
        "centre_px": (514.9682006835938, 501.88201904296875),
        "radial": (-0.198384091258049, 0.21832367777824402, -0.008947807364165783),
        "tangential": (-0.0005872055771760643, -0.0018133620033040643),
    },
}
CAMERAS = tuple(_LENSES)

# Subject -> for each camera its orientation (quaternion w, x, y, z) and its place in millimetres.
# fmt: off
_PLACES: dict[str, tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]] = {
    "S1": (
        ((0.1407056450843811, -0.1500701755285263, -0.755240797996521, 0.6223280429840088),
         (1841.1070556640625, 4955.28466796875, 1563.4454345703125)),
        ((0.6157187819480896, -0.764836311340332, -0.14833825826644897, 0.11794740706682205),
         (1761.278564453125, -5078.0068359375, 1606.2650146484375)),
        ((0.14651472866535187, -0.14647851884365082, 0.7653023600578308, -0.6094175577163696),
         (-1846.7777099609375, 5215.04638671875, 1491.972412109375)),
        ((0.5834008455276489, -0.7853162288665771, 0.14548823237419128, -0.14749594032764435),
         (-1794.7896728515625, -3722.698974609375, 1574.8927001953125)),
    ),
    "S5": (
        ((0.1467377245426178, -0.162370964884758, -0.7551892995834351, 0.6178938746452332),
         (2097.3916015625, 4880.94482421875, 1605.732421875)),
        ((0.6159758567810059, -0.7626792192459106, -0.15728192031383514, 0.1189815029501915),
         (2031.7008056640625, -5167.93310546875, 1612.923095703125)),
        ((0.14291371405124664, -0.12907841801643372, 0.7678384780883789, -0.6110143065452576),
         (-1620.5948486328125, 5171.65869140625, 1496.43701171875)),
        ((0.5920479893684387, -0.7814217805862427, 0.1274748593568802, -0.15036417543888092),
         (-1637.1737060546875, -3867.3173828125, 1547.033203125)),
    ),
    "S6": (
        ((0.1337897777557373, -0.15692396461963654, -0.7571090459823608, 0.6198879480361938),
         (1935.4517822265625, 4950.24560546875, 1618.0838623046875)),
        ((0.6147197484970093, -0.7628812789916992, -0.16174767911434174, 0.11819244921207428),
         (1969.803955078125, -5128.73876953125, 1632.77880859375)),
        ((0.1529948115348816, -0.13529130816459656, 0.7646096348762512, -0.6112781167030334),
         (-1769.596435546875, 5185.361328125, 1476.993408203125)),
        ((0.5916101336479187, -0.7804774045944214, 0.12832270562648773, -0.1561593860387802),
         (-1721.668701171875, -3884.13134765625, 1540.4879150390625)),
    ),
    "S7": (
        ((0.1435241848230362, -0.1631336808204651, -0.7548328638076782, 0.6188824772834778),
         (1974.512939453125, 4926.3544921875, 1597.8326416015625)),
        ((0.6141672730445862, -0.7638262510299683, -0.1596645563840866, 0.1177929937839508),
         (1937.0584716796875, -5119.7900390625, 1631.5665283203125)),
        ((0.14550060033798218, -0.12874816358089447, 0.7660516500473022, -0.6127139329910278),
         (-1741.8111572265625, 5208.24951171875, 1464.8245849609375)),
        ((0.5912848114967346, -0.7821764349937439, 0.12445473670959473, -0.15196487307548523),
         (-1734.7105712890625, -3832.42138671875, 1548.5830078125)),
    ),
    "S8": (
        ((0.14110587537288666, -0.15589867532253265, -0.7561917304992676, 0.619644045829773),
         (2150.65185546875, 4896.1611328125, 1611.9046630859375)),
        ((0.6169601678848267, -0.7647668123245239, -0.14846350252628326, 0.11158157885074615),
         (2219.965576171875, -5148.453125, 1613.0440673828125)),
        ((0.1471444070339203, -0.13377119600772858, 0.7670128345489502, -0.6100369691848755),
         (-1571.2215576171875, 5137.0185546875, 1498.1761474609375)),
        ((0.5927824378013611, -0.7825870513916016, 0.12147816270589828, -0.14631995558738708),
         (-1476.913330078125, -3896.7412109375, 1547.97216796875)),
    ),
    "S9": (
        ((0.15540587902069092, -0.15548215806484222, -0.7532095313072205, 0.6199594736099243),
         (2044.45849609375, 4935.1171875, 1481.2275390625)),
        ((0.618784487247467, -0.7634735107421875, -0.14132238924503326, 0.11933968216180801),
         (1990.959716796875, -5123.810546875, 1568.8048095703125)),
        ((0.13357827067375183, -0.1367100477218628, 0.7689454555511475, -0.6100738644599915),
         (-1670.9921875, 5211.98583984375, 1528.387939453125)),
        ((0.5879399180412292, -0.7823407053947449, 0.1427614390850067, -0.14794869720935822),
         (-1696.04345703125, -3827.099853515625, 1591.4127197265625)),
    ),
    "S11": (
        ((0.15232472121715546, -0.15442320704460144, -0.7547563314437866, 0.6191070079803467),
         (2098.440185546875, 4926.5546875, 1500.278564453125)),
        ((0.6189449429512024, -0.7600917220115662, -0.15300633013248444, 0.1255258321762085),
         (2083.182373046875, -4912.1728515625, 1561.07861328125)),
        ((0.14943228662014008, -0.15650227665901184, 0.7681233882904053, -0.6026304364204407),
         (-1609.8153076171875, 5177.3359375, 1537.896728515625)),
        ((0.5894251465797424, -0.7818877100944519, 0.13991211354732513, -0.14715361595153809),
         (-1590.738037109375, -3854.1689453125, 1578.017578125)),
    ),
}
# fmt: on


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
    orientation, translation_mm = _PLACES[subject][CAMERAS.index(name)]
    return Camera(
        # The published orientation turns camera axes into world axes.
        rotation=from_quaternions(np.array(orientation)).T,
        position=np.array(translation_mm) / 1000,
        **_LENSES[name],
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
    read = {split: _read_split(file[split], split, path) for split in _SPLITS}
    return ImageSpace(**read)


_SPLITS = ("train", "test")


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
        image_size=np.array([_LENSES[str(name)]["image_size"] for name in cameras])[which],
        metres_per_px=of_frames("2.5d_factor") / 1000 if test else None,
        joints=of_frames("joints_2.5d_image", 17, 3) / 1000 if test else None,
    )
