"""Every layout of keypoint files: a person whose 3D is known, written as the program would, read,
and converted to the joints that are lifted."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lithepose.cameras import Camera, look_at
from lithepose.keypoints import is_keypoints, read_keypoints
from lithepose.poses import Track2D
from lithepose.skeletons import LIMB_JOINTS, PARTS_OF_LARGER, SKELETONS, convert
from lithepose.synthetic.bodies import random_body
from lithepose.synthetic.movements import motion
from lithepose.world.extremities import with_extremities

SIZE = (1280, 720)
FRAMES = 10
FPS = 25.0


@pytest.fixture(scope="module")
def truth() -> dict[str, np.ndarray]:
    """The points of a walker 385 pixels high by name, (T, 2) pixels, projected from 3D: those of
    `lithepose31`, and in 3D on the lines between them what other sets have besides."""
    random = np.random.default_rng(3)
    body = random_body(random)
    joints = motion("walk", 2.0, FPS, body, random)[:FRAMES]
    camera = Camera(
        focal_px=(1000.0, 1000.0),
        centre_px=(SIZE[0] / 2, SIZE[1] / 2),
        image_size=SIZE,
        rotation=look_at((2.2, 3.6, 1.4), (0.1, 0.0, 0.9), 2.0),
        position=np.array([2.2, 3.6, 1.4]),
    )
    local = camera.world_to_camera(joints)
    nothing = np.full((FRAMES, 31, 2), np.nan)
    points, _ = with_extremities(
        local, nothing, np.zeros((FRAMES, 31)), np.arange(FRAMES) / FPS, 1000.0, SIZE
    )
    named = dict(zip(SKELETONS["lithepose31"].joints, np.moveaxis(points, 1, 0), strict=True))

    def between(first: str, second: str, share: float) -> np.ndarray:
        return named[first] + share * (named[second] - named[first])

    named["neck"] = between("thorax", "head_top", 0.15)
    named["upper_neck"] = between("thorax", "head_top", 0.43)
    named["head"] = between("left_ear", "right_ear", 0.5)
    for side in ("left", "right"):
        named[f"{side}_foot_index"] = between(f"{side}_big_toe", f"{side}_small_toe", 0.5)
    for name in [name for s in SKELETONS.values() for name in s.joints if name not in named]:
        named[name] = named["nose"]  # corners of eyes and mouth, thumbs: nothing is made of them
    seen = {name: place[:, :2] / place[:, 2:] * 1000 for name, place in named.items()}
    return {name: place + np.array(SIZE) / 2 for name, place in seen.items()}


def of(truth: dict[str, np.ndarray], skeleton: str) -> np.ndarray:
    """(T, J, 3) with confidence 0.9."""
    points = np.stack([truth[name] for name in SKELETONS[skeleton].joints], axis=1)
    return np.concatenate([points, np.full((*points.shape[:2], 1), 0.9)], axis=-1)


def whole_body(truth: dict[str, np.ndarray], points: int) -> np.ndarray:
    skeleton, part = PARTS_OF_LARGER[points]
    everything = np.full((FRAMES, points, 3), 5.0)
    everything[:, list(part)] = of(truth, skeleton)
    return everything


def flat(points: np.ndarray) -> list[float]:
    return np.asarray(points).ravel().tolist()


def dump(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


# How each program writes a clip: folder and (T, J, 3) to the path that is read


def write_openpose(folder: Path, frames: list[list[Any]]) -> Path:
    """`frames`: for each the people, (J, 3), or ((J, 3), person_id)."""
    folder.mkdir(exist_ok=True)
    for index, people in enumerate(frames):
        named = [entry if isinstance(entry, tuple) else (entry, -1) for entry in people]
        entries = [{"person_id": [who], "pose_keypoints_2d": flat(each)} for each, who in named]
        dump(folder / f"clip_{index}_keypoints.json", {"version": 1.3, "people": entries})
    return folder


def openpose(folder: Path, points: np.ndarray) -> Path:
    return write_openpose(folder, [[frame] for frame in points])


def write_alphapose(path: Path, people: list[tuple[str, np.ndarray, float | None]]) -> Path:
    """`people`: image_id, (J, 3), and idx if it has one."""
    return dump(
        path,
        [
            {"image_id": image, "category_id": 1, "keypoints": flat(points), "score": 2.9}
            | ({} if idx is None else {"idx": idx})
            for image, points, idx in people
        ],
    )


def alphapose(folder: Path, points: np.ndarray) -> Path:
    people = [(f"{i}.jpg", frame, None) for i, frame in enumerate(points)]
    return write_alphapose(folder / "alphapose-results.json", people)


def coco_results(folder: Path, points: np.ndarray) -> Path:
    return dump(
        folder / "results.json",
        [
            {"image_id": 700 + i, "category_id": 1, "keypoints": flat(frame), "score": 0.8}
            for i, frame in enumerate(points)
        ],
    )


def coco_annotations(folder: Path, points: np.ndarray) -> Path:
    marked = points.copy()
    marked[..., 2] = 2  # visible
    images = [
        {"id": 31 - i, "file_name": f"frame_{i}.jpg", "width": SIZE[0], "height": SIZE[1]}
        for i in range(len(points))
    ]
    people = [
        {"id": i, "image_id": 31 - i, "category_id": 1, "iscrowd": 0, "keypoints": flat(frame)}
        for i, frame in enumerate(marked)
    ]
    names = list(SKELETONS["coco17"].joints)
    categories = [{"id": 1, "name": "person", "keypoints": names}]
    content = {"images": images[::-1], "annotations": people, "categories": categories}
    return dump(folder / "person_keypoints.json", content)


def coco_whole_body(folder: Path, points: np.ndarray) -> Path:
    path = coco_annotations(folder, points[:, :17])
    content = json.loads(path.read_text())
    for entry, frame in zip(content["annotations"], points, strict=True):
        frame = frame.copy()
        frame[:, 2] = 2
        entry["foot_kpts"] = flat(frame[17:23])
        entry["lefthand_kpts"], entry["righthand_kpts"] = flat(frame[91:112]), flat(frame[112:])
    return dump(path, content)


def mmpose(folder: Path, points: np.ndarray) -> Path:
    frames = [
        {
            "frame_id": i + 1,
            "instances": [
                {
                    "keypoints": frame[:, :2].tolist(),
                    "keypoint_scores": frame[:, 2].tolist(),
                    "bbox": [[0, 0, 1, 1]],
                }
            ],
        }
        for i, frame in enumerate(points)
    ]
    return dump(folder / "results_clip.json", {"meta_info": {}, "instance_info": frames})


def mmpose_predictions(folder: Path, points: np.ndarray) -> Path:
    return dump(
        folder / "clip.json", json.loads(mmpose(folder, points).read_text())["instance_info"]
    )


def label_files(folder: Path, points: np.ndarray, tail: str = "", name: str = "clip_{}") -> Path:
    labels = folder / "labels"
    labels.mkdir()
    for index, frame in enumerate(points / [*SIZE, 1]):
        numbers = " ".join(f"{value:.6f}" for value in frame.ravel())
        text = f"0 0.5 0.5 0.2 0.6 {numbers}{tail}\n"
        (labels / f"{name.format(index + 1)}.txt").write_text(text)
    return folder


def label_files_with_identity(folder: Path, points: np.ndarray) -> Path:
    return label_files(folder, points, " 0.87 4")


def ultralytics_frame(frame: np.ndarray, scale: Any = (1, 1)) -> list[dict[str, Any]]:
    x, y, sure = (frame / [*scale, 1]).T.tolist()
    box = {"x1": 1.0, "y1": 2.0, "x2": 3.0, "y2": 4.0}
    keypoints = {"x": x, "y": y, "visible": sure}
    return [{"name": "person", "class": 0, "confidence": 0.9, "box": box, "keypoints": keypoints}]


def ultralytics(folder: Path, points: np.ndarray) -> Path:
    return dump(folder / "clip.json", [ultralytics_frame(frame) for frame in points])


def ultralytics_shares(folder: Path, points: np.ndarray) -> Path:
    return dump(folder / "clip.json", [ultralytics_frame(frame, SIZE) for frame in points])


def ultralytics_folder(folder: Path, points: np.ndarray) -> Path:
    for index, frame in enumerate(points):
        dump(folder / f"frame_{index}.json", ultralytics_frame(frame))
    return folder


def landmarks(frame: np.ndarray) -> list[dict[str, float]]:
    return [
        {"x": x, "y": y, "z": -0.1, "visibility": sure, "presence": 1.0}
        for x, y, sure in (frame / [*SIZE, 1]).tolist()
    ]


def mediapipe_lists(folder: Path, points: np.ndarray) -> Path:
    return dump(folder / "pose.json", [landmarks(frame) for frame in points])


def mediapipe_tasks(folder: Path, points: np.ndarray) -> Path:
    frames = [
        {"timestamp_ms": 40 * i, "landmarks": [landmarks(frame)], "worldLandmarks": [[]]}
        for i, frame in enumerate(points)
    ]
    return dump(folder / "pose.json", {"fps": FPS, "image_size": SIZE, "frames": frames})


def mediapipe_legacy(folder: Path, points: np.ndarray) -> Path:
    frames = [{"pose_landmarks": {"landmark": landmarks(frame)}} for frame in points]
    return dump(folder / "pose.json", frames)


def write_csv(path: Path, header: list[str], rows: list[list[Any]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def mediapipe_long(folder: Path, points: np.ndarray) -> Path:
    names = [name.upper() for name in SKELETONS["blazepose33"].joints]
    names[9:11] = ["MOUTH_LEFT", "MOUTH_RIGHT"]
    rows = [
        [index, name, x, y, 0.1, sure]
        for index, frame in enumerate(points / [*SIZE, 1])
        for name, (x, y, sure) in zip(names, frame.tolist(), strict=True)
    ]
    return write_csv(folder / "a.csv", ["frame", "landmark", "x", "y", "z", "visibility"], rows)


def mediapipe_wide(folder: Path, points: np.ndarray) -> Path:
    header = [f"{axis}{n}" for n in range(1, 34) for axis in "xyzv"]
    rows = [
        [value for x, y, sure in frame.tolist() for value in (x, y, 0.1, sure)]
        for frame in points / [*SIZE, 1]
    ]
    return write_csv(folder / "a.csv", ["class", *header], [["walk", *row] for row in rows])


def mediapipe_wide_names(folder: Path, points: np.ndarray) -> Path:
    names = SKELETONS["blazepose33"].joints
    header = ["frame", *(f"{name}_{axis}" for name in names for axis in ("x", "y", "visibility"))]
    rows = [
        [i + 1, *frame] for i, frame in enumerate((points / [*SIZE, 1]).reshape(len(points), -1))
    ]
    return write_csv(folder / "a.csv", header, rows)


Write = Callable[[Path, np.ndarray], Path]
LAYOUTS: list[tuple[Write, str]] = [
    (openpose, "body25"),
    (openpose, "openpose18"),
    (openpose, "coco17"),
    (alphapose, "coco17"),
    (alphapose, "halpe26"),
    (coco_results, "coco17"),
    (coco_annotations, "coco17"),
    (mmpose, "coco17"),
    (mmpose, "halpe26"),
    (mmpose_predictions, "coco17"),
    (label_files, "coco17"),
    (label_files_with_identity, "coco17"),
    (ultralytics, "coco17"),
    (ultralytics_shares, "coco17"),
    (ultralytics_folder, "coco17"),
    (mediapipe_lists, "blazepose33"),
    (mediapipe_tasks, "blazepose33"),
    (mediapipe_legacy, "blazepose33"),
    (mediapipe_long, "blazepose33"),
    (mediapipe_wide, "blazepose33"),
    (mediapipe_wide_names, "blazepose33"),
]

# How far, in pixels of a person 385 high, the joints of `h36m17` that a set lacks lie from the true
# ones, at most in the ten frames. Mid-points differ by the perspective alone; a nose of a set
# without one is the middle of the head.
ATOL = 0.01  # of joints that are only taken over: digits of the file
DERIVED = {"pelvis": 0.5, "thorax": 1.0, "spine": 1.0, "head_top": 4.0, "nose": 15.0}


def check_against(truth: dict[str, np.ndarray], track: Track2D) -> None:
    found, confidence, derived = convert(
        track.keypoints, track.confidence, track.skeleton, "h36m17"
    )
    for index, name in enumerate(SKELETONS["h36m17"].joints):
        within = DERIVED[name] if derived[index] else ATOL
        assert np.abs(found[:, index] - truth[name]).max() < within, name
    assert (confidence[:, list(LIMB_JOINTS)] > 0.85).all()


@pytest.mark.parametrize(
    ("write", "skeleton"), LAYOUTS, ids=[f"{w.__name__}-{s}" for w, s in LAYOUTS]
)
def test_a_known_person_becomes_the_joints_to_lift(
    tmp_path: Path, truth: dict[str, np.ndarray], write: Write, skeleton: str
):
    path = write(tmp_path, of(truth, skeleton))
    assert is_keypoints(path)
    (track,) = read_keypoints(path, image_size=SIZE, fps=FPS)
    assert (track.skeleton, len(track.keypoints)) == (skeleton, FRAMES)
    np.testing.assert_allclose(track.keypoints, of(truth, skeleton)[..., :2], atol=ATOL)
    check_against(truth, track)


@pytest.mark.parametrize(
    ("write", "skeleton", "name"),
    [
        (openpose, "body25", "OpenPose"),
        (alphapose, "coco17", "AlphaPose"),
        (coco_results, "coco17", "COCO results"),
        (coco_annotations, "coco17", "COCO annotations"),
        (mmpose, "coco17", "MMPose"),
        (mmpose_predictions, "coco17", "MMPose"),
        (label_files, "coco17", "Ultralytics labels"),
        (ultralytics, "coco17", "Ultralytics JSON"),
        (ultralytics_folder, "coco17", "Ultralytics JSON"),
        (mediapipe_tasks, "blazepose33", "MediaPipe JSON"),
        (mediapipe_wide, "blazepose33", "MediaPipe CSV"),
    ],
)
def test_a_file_is_taken_for_what_it_is(
    tmp_path: Path,
    truth: dict[str, np.ndarray],
    caplog: pytest.LogCaptureFixture,
    write: Write,
    skeleton: str,
    name: str,
):
    path = write(tmp_path, of(truth, skeleton))
    with caplog.at_level("INFO", "lithepose"):
        read_keypoints(path, image_size=SIZE, fps=FPS)
    assert caplog.messages[0] == f"{path} is read as {name}"


@pytest.mark.parametrize(
    ("write", "points", "skeleton"),
    [
        (alphapose, 136, "halpe26"),
        (mmpose, 133, "wholebody27"),
        (coco_whole_body, 133, "wholebody27"),
    ],
)
def test_of_a_whole_body_the_joints_with_a_use_are_read(
    tmp_path: Path, truth: dict[str, np.ndarray], write: Write, points: int, skeleton: str
):
    path = write(tmp_path, whole_body(truth, points))
    (track,) = read_keypoints(path, image_size=SIZE, fps=FPS)
    assert track.skeleton == skeleton
    np.testing.assert_allclose(track.keypoints, of(truth, skeleton)[..., :2], atol=ATOL)
    check_against(truth, track)
    # Heels and toes reach the 31 points of a result, and where there are hands, knuckles too.
    further, _, _ = convert(track.keypoints, track.confidence, skeleton, "lithepose31")
    for name in ("left_heel", "right_big_toe", *(["left_index"] if points == 133 else [])):
        index = SKELETONS["lithepose31"].index(name)
        np.testing.assert_allclose(further[:, index], truth[name], atol=ATOL)


@pytest.mark.parametrize("skeleton", sorted(set(SKELETONS) - {"lithepose31"}))
def test_every_joint_set_becomes_the_joints_to_lift(
    tmp_path: Path, truth: dict[str, np.ndarray], skeleton: str
):
    np.savez(
        tmp_path / "a.npz",
        keypoints=of(truth, skeleton),
        skeleton=skeleton,
        image_size=SIZE,
        fps=FPS,
    )
    (track,) = read_keypoints(tmp_path / "a.npz")
    found, _, derived = convert(track.keypoints, track.confidence, skeleton, "h36m17")
    for index, name in enumerate(SKELETONS["h36m17"].joints):
        within = DERIVED[name] if derived[index] else ATOL
        assert np.abs(found[:, index] - truth[name]).max() < within, name


# What programs write beside people


def two_people(truth: dict[str, np.ndarray], skeleton: str) -> tuple[np.ndarray, np.ndarray]:
    return of(truth, skeleton), of(truth, skeleton) + [400, 0, 0]


def test_an_openpose_folder_is_one_frame_per_file_in_number_order(
    tmp_path: Path, truth: dict[str, np.ndarray]
):
    points = np.concatenate([of(truth, "body25"), of(truth, "body25")[:2]])  # frames 10 and 11
    folder = write_openpose(tmp_path / "op", [[] if i == 4 else [p] for i, p in enumerate(points)])
    (track,) = read_keypoints(folder, image_size=SIZE, fps=FPS)
    expected = points[..., :2].copy()
    expected[4] = np.nan
    np.testing.assert_allclose(track.keypoints, expected, rtol=1e-6)


def test_a_list_of_openpose_files_and_a_single_one_are_read(
    tmp_path: Path, truth: dict[str, np.ndarray]
):
    folder = openpose(tmp_path / "op", of(truth, "body25"))
    files = [folder / f"clip_{i}_keypoints.json" for i in (2, 0)]
    (track,) = read_keypoints(files, image_size=SIZE, fps=FPS)
    np.testing.assert_allclose(track.keypoints, of(truth, "body25")[[2, 0], :, :2], rtol=1e-6)
    (track,) = read_keypoints(files[0], image_size=SIZE, fps=FPS)
    assert len(track.keypoints) == 1


def test_openpose_people_without_identity_are_followed(
    tmp_path: Path, truth: dict[str, np.ndarray]
):
    both = two_people(truth, "body25")
    # The order of the people changes from frame to frame.
    frames = [
        list(people)[:: -1 if i % 2 else 1] for i, people in enumerate(zip(*both, strict=True))
    ]
    tracks = read_keypoints(write_openpose(tmp_path / "op", frames), image_size=SIZE, fps=FPS)
    assert len(tracks) == 2
    for track in tracks:
        matches = [np.allclose(track.keypoints, one[..., :2], rtol=1e-5) for one in both]
        assert sum(matches) == 1


def test_openpose_identities_are_kept(tmp_path: Path, truth: dict[str, np.ndarray]):
    a, b = two_people(truth, "body25")
    folder = write_openpose(tmp_path / "op", [[(a[0], 5)], [(b[1], 6), (a[1], 5)], [(b[2], 6)]])
    five, six = read_keypoints(folder, image_size=SIZE, fps=FPS)
    assert (five.person, six.person) == (5, 6)
    assert (five.confidence.any(axis=1)).tolist() == [True, True, False]
    np.testing.assert_allclose(six.keypoints[1:], b[1:3, :, :2], rtol=1e-6)


def test_a_person_without_body_is_not_one(tmp_path: Path, truth: dict[str, np.ndarray]):
    # Faces and hands may come without bodies.
    folder = write_openpose(tmp_path / "op", [[], [of(truth, "body25")[0], np.zeros((0, 3))]])
    (track,) = read_keypoints(folder, image_size=SIZE, fps=FPS)
    assert track.confidence.any(axis=1).tolist() == [False, True]


@pytest.mark.parametrize(
    ("images", "seen"),
    [
        # Frames of a video count from 0, pictures from the first.
        (["0.jpg", "2.jpg"], [True, False, True]),
        (["2.jpg"], [False, False, True]),
        (["img_0102.png", "img_0104.png"], [True, False, True]),
    ],
)
def test_alphapose_frames_without_anybody_are_kept(
    tmp_path: Path, truth: dict[str, np.ndarray], images: list[str], seen: list[bool]
):
    frame = of(truth, "coco17")[0]
    path = write_alphapose(tmp_path / "r.json", [(image, frame, None) for image in images])
    (track,) = read_keypoints(path, image_size=SIZE, fps=FPS)
    assert track.confidence.any(axis=1).tolist() == seen
    np.testing.assert_allclose(track.keypoints[2], frame[:, :2], rtol=1e-6)


def test_alphapose_identities_are_kept_if_they_are_some(
    tmp_path: Path, truth: dict[str, np.ndarray]
):
    a, b = two_people(truth, "coco17")
    named = [(f"{i}.jpg", one[i], n) for i in range(FRAMES) for n, one in ((1, a), (2, b))]
    tracks = read_keypoints(write_alphapose(tmp_path / "r.json", named), image_size=SIZE, fps=FPS)
    assert [track.person for track in tracks] == [1, 2]
    # Without its tracker everybody is 0: then they are followed here.
    nameless = [(image, points, 0.0) for image, points, _ in named]
    path = write_alphapose(tmp_path / "r.json", nameless)
    tracks = read_keypoints(path, image_size=SIZE, fps=FPS)
    assert len(tracks) == 2
    assert all(np.isfinite(track.keypoints).all() for track in tracks)


def test_several_people_keep_their_identity_or_are_followed(
    tmp_path: Path, truth: dict[str, np.ndarray]
):
    left, right = two_people(truth, "coco17")
    labels = tmp_path / "labels"
    labels.mkdir()
    for index in range(FRAMES):
        lines = []
        for who, points in ((7, left), (2, right)):
            numbers = " ".join(f"{value:.6f}" for value in (points[index] / [*SIZE, 1]).ravel())
            lines.append(f"0 0.5 0.5 0.2 0.6 {numbers} 0.9 {who}")
        lines = lines[::-1] if index % 2 else lines
        (labels / f"clip_{index + 1}.txt").write_text("\n".join(lines))
    tracks = {track.person: track for track in read_keypoints(labels, image_size=SIZE, fps=FPS)}
    assert sorted(tracks) == [2, 7]
    np.testing.assert_allclose(tracks[7].keypoints, left[..., :2], atol=ATOL)
    # The same without identities.
    frames = [ultralytics_frame(a) + ultralytics_frame(b) for a, b in zip(left, right, strict=True)]
    two = read_keypoints(dump(tmp_path / "two.json", frames), image_size=SIZE, fps=FPS)
    assert len(two) == 2


def test_frames_without_anybody_have_no_label_file(tmp_path: Path, truth: dict[str, np.ndarray]):
    label_files(tmp_path, of(truth, "coco17"))
    for number in (1, 5):
        (tmp_path / "labels" / f"clip_{number}.txt").unlink()
    (track,) = read_keypoints(tmp_path, image_size=SIZE, fps=FPS)
    assert np.flatnonzero(~track.confidence.any(axis=1)).tolist() == [0, 4]
    # Pictures of a folder have numbers with noughts in front, and count from anywhere.
    other = tmp_path / "other"
    other.mkdir()
    label_files(other, of(truth, "coco17"), name="img_{:04d}")
    (track,) = read_keypoints(other, image_size=SIZE, fps=FPS)
    assert track.confidence.any(axis=1).all()


def test_labels_of_a_data_set_mark_what_is_visible(tmp_path: Path, truth: dict[str, np.ndarray]):
    points = of(truth, "coco17")
    points[..., 2] = 2
    points[:, 3, 2] = 1  # hidden, but labelled
    points[:, 4] = 0
    (track,) = read_keypoints(label_files(tmp_path, points), image_size=SIZE, fps=FPS)
    assert track.confidence[0, :5].tolist() == [1, 1, 1, 1, 0]
    assert np.isnan(track.keypoints[:, 4]).all()


def test_labels_of_other_joints_need_their_set(tmp_path: Path, truth: dict[str, np.ndarray]):
    folder = label_files(tmp_path, of(truth, "halpe26"))
    with pytest.raises(ValueError, match=r"83 numbers is no person of 17 joints.*skeleton="):
        read_keypoints(folder, image_size=SIZE, fps=FPS)
    (track,) = read_keypoints(folder, image_size=SIZE, fps=FPS, skeleton="halpe26")
    check_against(truth, track)


def test_only_people_are_read_of_labels(tmp_path: Path, truth: dict[str, np.ndarray]):
    folder = label_files(tmp_path, of(truth, "coco17"))
    for file in (folder / "labels").iterdir():
        file.write_text(file.read_text() + file.read_text().replace("0 0.5", "3 0.5", 1))
    assert len(read_keypoints(folder, image_size=SIZE, fps=FPS)) == 1


def test_mediapipe_times_and_several_people(tmp_path: Path, truth: dict[str, np.ndarray]):
    points = of(truth, "blazepose33")
    (track,) = read_keypoints(mediapipe_tasks(tmp_path, points))  # says size and times itself
    np.testing.assert_allclose(track.time_s, np.arange(FRAMES) * 0.04)
    frames: list[Any] = [[landmarks(frame), landmarks(frame + [300, 0, 0])] for frame in points]
    frames[4] = None
    two = read_keypoints(dump(tmp_path / "two.json", frames), image_size=SIZE, fps=FPS)
    assert len(two) == 2
    assert not two[0].confidence[4].any()


def test_mediapipe_in_pixels_is_left_in_pixels(tmp_path: Path, truth: dict[str, np.ndarray]):
    points = of(truth, "blazepose33")
    frames = [[{"x": x, "y": y} for x, y, _ in frame.tolist()] for frame in points]
    path = dump(tmp_path / "a.json", frames)
    (track,) = read_keypoints(path, image_size=SIZE, fps=FPS)
    check_against(truth, track)


def test_one_frame_of_each_is_a_clip(tmp_path: Path, truth: dict[str, np.ndarray]):
    frame = of(truth, "blazepose33")[0]
    for content in (landmarks(frame), {"landmarks": landmarks(frame)}):
        path = dump(tmp_path / "a.json", content)
        (track,) = read_keypoints(path, image_size=SIZE, fps=FPS)
        assert len(track.keypoints) == 1
    path = dump(tmp_path / "a.json", ultralytics_frame(of(truth, "coco17")[0]))
    (track,) = read_keypoints(path, image_size=SIZE, fps=FPS)
    assert len(track.keypoints) == 1


@pytest.mark.shared
def test_annotations_of_coco_are_read(shared: Any, tmp_path: Path):
    path = shared("samples/coco/test_coco.json")
    content = json.loads(path.read_text())
    # Its images are of several sizes, so no clip: of one of them it is.
    with pytest.raises(ValueError, match="several sizes"):
        read_keypoints(path, fps=1)
    image = next(image for image in content["images"] if image["id"] == 785)
    people = [entry for entry in content["annotations"] if entry["image_id"] == 785]
    one = {**content, "images": [image], "annotations": people}
    (track,) = read_keypoints(dump(tmp_path / "one.json", one), fps=1)
    assert (track.skeleton, track.image_size) == ("coco17", (640, 425))
    expected = np.array(people[0]["keypoints"], float).reshape(17, 3)
    seen = expected[:, 2] > 0
    np.testing.assert_array_equal(track.keypoints[0, seen], expected[seen, :2])
    np.testing.assert_array_equal(track.confidence[0], seen)


@pytest.mark.shared
def test_whole_bodies_of_coco_are_read(shared: Any, tmp_path: Path):
    content = json.loads(shared("samples/coco/test_coco_wholebody.json").read_text())
    image = next(image for image in content["images"] if image["id"] == 785)
    people = [entry for entry in content["annotations"] if entry["image_id"] == 785]
    one = {**content, "images": [image], "annotations": people[:1], "categories": []}
    (track,) = read_keypoints(dump(tmp_path / "one.json", one), fps=1)
    assert track.skeleton == "wholebody27"
    feet = np.array(people[0]["foot_kpts"], float).reshape(6, 3)
    seen = feet[:, 2] > 0
    np.testing.assert_allclose(track.keypoints[0, 17:23][seen], feet[seen, :2], rtol=1e-6)


def test_the_names_in_a_file_tell_its_joints(tmp_path: Path, truth: dict[str, np.ndarray]):
    path = mmpose(tmp_path, of(truth, "h36m17"))
    content = json.loads(path.read_text())

    def read_with(names: Any, **options: Any) -> str:
        content["meta_info"] = {"keypoint_id2name": {str(i): name for i, name in enumerate(names)}}
        dump(path, content)
        return read_keypoints(path, image_size=SIZE, fps=FPS, **options)[0].skeleton

    assert read_with(SKELETONS["h36m17"].joints) == "h36m17"
    assert (
        read_with(name.replace("_", " ").title() for name in SKELETONS["coco17"].joints) == "coco17"
    )
    # Names that no set has, as MMPose's own of Human3.6M, are no reason to take them for COCO's.
    theirs = ["root", "right_hip", "right_knee", "right_foot", *"abcdefghijklm"]
    with pytest.raises(ValueError, match="which 17 joints it has: pass skeleton="):
        read_with(theirs)
    assert read_with(theirs, skeleton="h36m17") == "h36m17"


# What is wrong


def ruled(points: int = 33) -> list[dict[str, float]]:
    return [{"x": 0.5, "y": 0.5}] * points


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([ruled(21)], "21 landmarks, but a body of MediaPipe has 33: faces and hands"),
        ([[*ruled(32), {"x": 0.5}]], "a landmark has no x and y"),
        ([ruled(), "none"], "a frame holds str, not landmarks"),
        ([ruled(), [[[[[[ruled()]]]]]]], "a frame holds list, not landmarks"),
        (json.loads("[" * 90 + "]" * 90), "is not an AlphaPose result"),
        ({"annotations": [], "images": []}, "needs lists of images and annotations"),
        ({"annotations": [], "images": [{"file_name": "a"}]}, "needs an id"),
        (
            {
                "images": [{"id": 1, "width": 9, "height": 9}],
                "annotations": [{"id": 5, "image_id": 2, "keypoints": [1, 2, 2]}],
            },
            "annotation 5 is of no image",
        ),
        ({"instance_info": []}, "it has no frames"),
        ({"instance_info": [{"frame_id": 1}]}, "every frame needs its instances"),
        ({"instance_info": [{"instances": [{}]}]}, "an instance has no keypoints"),
        (
            [[{"box": {}, "keypoints": {"x": [1, 2], "y": [1], "visible": [1]}}]],
            "lists of one length",
        ),
        ([[{"box": {}, "keypoints": {"x": ["a"], "y": [1]}}]], "keypoints x is not an array"),
    ],
)
def test_bad_content_is_explained(tmp_path: Path, content: Any, message: str):
    with pytest.raises(ValueError, match=message):
        read_keypoints(dump(tmp_path / "a.json", content), image_size=SIZE, fps=FPS)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([*range(32), "TAIL"], "tail are no landmarks of MediaPipe's body"),
        (range(2, 35), "33, 34 are no landmarks of MediaPipe's body"),
    ],
)
def test_unknown_landmarks_are_named(tmp_path: Path, names: Any, message: str):
    rows = [[0, name, 0.5, 0.5] for name in names]
    path = write_csv(tmp_path / "a.csv", ["frame", "landmark_id", "x", "y"], rows)
    with pytest.raises(ValueError, match=message):
        read_keypoints(path, image_size=SIZE, fps=FPS)


def test_shares_of_the_frame_need_its_size(tmp_path: Path, truth: dict[str, np.ndarray]):
    path = mediapipe_lists(tmp_path, of(truth, "blazepose33"))
    with pytest.raises(ValueError, match=r"pass image_size=\(width, height\)"):
        read_keypoints(path, fps=FPS)


def test_a_folder_is_told_by_what_is_in_its_files(tmp_path: Path, truth: dict[str, np.ndarray]):
    def folder(name: str) -> Path:
        (tmp_path / name).mkdir()
        return tmp_path / name

    def with_picture(path: Path) -> Path:
        (path / "frame_0.png").write_bytes(b"")
        return path

    points = of(truth, "coco17")
    # Rendered pictures may lie beside keypoints.
    assert is_keypoints(with_picture(openpose(folder("op"), of(truth, "body25"))))
    assert is_keypoints(with_picture(label_files(folder("predict"), points)))
    assert is_keypoints(with_picture(ultralytics_folder(folder("json"), points)))
    # Notes of another kind beside pictures are no keypoints.
    pictures = with_picture(folder("pictures"))
    dump(pictures / "frame_0.json", {"shapes": [], "imagePath": "frame_0.png"})
    (pictures / "readme.txt").write_text("Frames of the walk.\n1 2 3\n")
    (pictures / "frame_1.json").write_text("{")
    assert not is_keypoints(pictures)
    assert not is_keypoints(folder("empty"))
    # Boxes alone are no people to lift.
    boxes = folder("boxes")
    (boxes / "clip_1.txt").write_text("0 0.5 0.5 0.2 0.6\n")
    assert not is_keypoints(boxes)


def test_the_command_lifts_a_folder_of_labels(tmp_path: Path, truth: dict[str, np.ndarray]):
    from click.testing import CliRunner

    from lithepose.cli import main

    (tmp_path / "predict").mkdir()
    source = label_files(tmp_path / "predict", of(truth, "coco17"))
    size, out = f"{SIZE[0]}x{SIZE[1]}", str(tmp_path / "out")
    options = ["--size", size, "--fps", "25", "--out", out, "--no-page"]
    done = CliRunner().invoke(main, ["lift", str(source), *options])
    assert done.exit_code == 0, done.output
    with np.load(tmp_path / "out" / "predict.npz") as result:
        facts = json.loads(str(result["metadata"]))["detector"]
    assert facts == {"name": "keypoints", "file": "predict", "skeleton": "coco17"}
