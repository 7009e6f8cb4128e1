"""A clip to files: names, what is refused before the work, and nothing half-written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lithepose import NoPersonError, lift
from lithepose.formats import read_result
from lithepose.pipeline import files
from lithepose.pipeline.files import WriteError, check_writable, lift_to_files
from lithepose.pipeline.owners import fingerprint_of
from lithepose.skeletons import convert
from lithepose.video import open_video

Film = Callable[..., Any]


def keypoint_file(path: Path, scene: Any) -> Path:
    np.savez(
        path,
        keypoints=scene.keypoints,
        fps=scene.fps,
        image_size=scene.image_size,
        skeleton="h36m17",
    )
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lithepose"))


def test_a_video_becomes_a_result_and_an_overlay(
    film: Film, make_video: Any, detecting: Any, tmp_path: Path
):
    scene = film(seconds=0.8)
    detecting(scene.keypoints[:, None])
    stages: list[str] = []
    written = lift_to_files(
        make_video(20, 25, scene.image_size, "my walk.mp4"),
        out=tmp_path / "out" / "deep",
        report=lambda stage, done, total: stages.append(stage),
    )
    made = ["my walk.npz", "my walk.overlay.mp4", "my walk.html"]
    assert names(tmp_path / "out" / "deep") == sorted(made)
    assert [path.name for path in written.files] == made
    assert list(dict.fromkeys(stages)) == ["2D", "3D", "views"]
    assert set(written.result.seconds) == {"2D", "3D", "world", "views"}
    with open_video(written.files[1]) as video:
        assert len(list(video)) == 20


def test_the_archive_holds_an_entry_for_every_decoded_frame(
    film: Film, make_video: Any, detecting: Any, tmp_path: Path
):
    scene = film(seconds=0.8)
    people = scene.keypoints[:, None].copy()
    people[:4] = np.nan
    detecting(people)
    path = make_video(20, 25, scene.image_size)
    (result,) = lift_to_files(path, out=tmp_path / "out", video=False).files
    with np.load(result, allow_pickle=False) as archive:
        assert archive["joints_3d_camera"].shape == (20, 17, 3)
        assert archive["joints_3d_camera"].dtype == np.float32
        assert archive["keypoints_2d"].shape == (20, 17, 2)
        assert archive["confidence"].shape == (20, 17)
        assert archive["confidence"].max() <= 1
        assert float(archive["fps"]) == pytest.approx(25)
        assert np.isnan(archive["joints_3d_camera"][:4]).all()
        assert np.isfinite(archive["joints_3d_camera"][4:]).all()
        assert not archive["confidence"][:4].any()


def test_the_range_of_a_video_is_that_of_its_overlay(
    film: Film, make_video: Any, detecting: Any, tmp_path: Path
):
    scene = film(seconds=1.2)
    detecting(scene.keypoints[:, None])
    path = make_video(30, 25, scene.image_size)
    written = lift_to_files(path, out=tmp_path / "out", start=0.2, end=0.8)
    assert written.result.frames == 15
    with open_video(written.files[1]) as video:
        assert len(list(video)) == 15


def test_overlay_and_page_can_each_be_had_alone(
    film: Film, make_video: Any, detecting: Any, tmp_path: Path
):
    scene = film(seconds=0.8)
    detecting(scene.keypoints[:, None])
    path = make_video(20, 25, scene.image_size)
    lift_to_files(path, out=tmp_path / "page", video=False, page=True)
    assert names(tmp_path / "page") == ["clip.html", "clip.npz"]
    lift_to_files(path, out=tmp_path / "video", page=False)
    assert names(tmp_path / "video") == ["clip.npz", "clip.overlay.mp4"]


def test_further_people_get_numbers(film: Film, make_video: Any, detecting: Any, tmp_path: Path):
    scene = film(seconds=0.8)
    far = (scene.keypoints - (320, 240)) * 0.5 + (120, 260)
    detecting(np.stack([scene.keypoints, far], 1))
    path = make_video(20, 25, scene.image_size)
    lift_to_files(path, out=tmp_path / "out", people="all", formats=["npz", "csv"], video=False)
    assert names(tmp_path / "out") == ["clip-2.csv", "clip-2.npz", "clip.csv", "clip.npz"]
    assert [read_result(tmp_path / "out" / f"clip{n}.npz").person for n in ("", "-2")] == [1, 2]


def test_keypoints_become_a_result_without_an_overlay(film: Film, tmp_path: Path):
    path = keypoint_file(tmp_path / "walk.v2.npz", film())
    written = lift_to_files(path, out=tmp_path / "out", formats=["npz", "json", "csv-wide"])
    made = ["walk.v2.html", "walk.v2.json", "walk.v2.npz", "walk.v2.wide.csv"]
    assert names(tmp_path / "out") == made
    assert len(written.files) == 4


def test_the_file_that_is_read_is_never_replaced(
    film: Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = keypoint_file(tmp_path / "walk.npz", film())
    before = path.read_bytes()
    with pytest.raises(WriteError, match="is the file to read: choose another folder"):
        lift_to_files(path, out=tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WriteError, match="is the file to read"):
        lift_to_files("walk.npz", out=".")
    assert path.read_bytes() == before
    lift_to_files(path, out=tmp_path, formats=["json"], page=False)
    assert names(tmp_path) == ["walk.json", "walk.npz"]


def test_a_folder_of_images_gives_its_name_also_when_called_dot(
    film: Film, detecting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import cv2

    scene = film(seconds=0.4)
    detecting(scene.keypoints[:, None])
    images = tmp_path / "take.3"
    (images / "inner").mkdir(parents=True)
    for index in range(6):
        grey = np.full((480, 640, 3), 10 + 3 * index, np.uint8)
        cv2.imwrite(str(images / f"{index}.png"), grey)
    lift_to_files(images, out=tmp_path / "out", fps=25, video=False)
    monkeypatch.chdir(images)
    lift_to_files(".", out=tmp_path / "dot", fps=25, video=False)
    monkeypatch.chdir(images / "inner")
    lift_to_files("..", out=tmp_path / "dots", fps=25, video=False)
    for folder in ("out", "dot", "dots"):
        assert names(tmp_path / folder) == ["take.3.npz"]


def test_a_clip_of_nobody_leaves_no_file(
    film: Film, make_video: Any, detecting: Any, tmp_path: Path
):
    detecting(np.full((10, 1, 17, 2), np.nan))
    with pytest.raises(NoPersonError):
        lift_to_files(make_video(10, 25, (640, 480)), out=tmp_path / "out")
    assert names(tmp_path / "out") == []


def test_a_folder_of_openpose_files_is_keypoints(film: Film, tmp_path: Path):
    scene = film(seconds=0.6)
    body, _, _ = convert(scene.keypoints, None, "h36m17", "body25")
    folder = tmp_path / "op"
    folder.mkdir()
    for index, points in enumerate(body):
        triples = np.nan_to_num(np.column_stack([points, np.isfinite(points).all(1)]))
        content = {"people": [{"pose_keypoints_2d": triples.ravel().tolist()}]}
        (folder / f"clip_{index:012d}_keypoints.json").write_text(json.dumps(content))
    written = lift_to_files(
        folder, out=tmp_path / "out", image_size=scene.image_size, fps=25, skeleton="body25"
    )
    assert names(tmp_path / "out") == ["op.html", "op.npz"]
    assert written.result.frames == 15


def test_the_lens_that_a_video_notes_is_used_if_it_can_be(
    film: Film, make_video: Any, detecting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    scene = film(seconds=0.6)
    detecting(scene.keypoints[:, None])
    path = make_video(15, 25, scene.image_size)

    def lifted_with(focal_mm: float | None, **options: Any) -> Any:
        monkeypatch.setattr("lithepose.video.decode._stated_focal", lambda *_: focal_mm)
        return lift(path, **options).people[0]

    film_mm = np.hypot(*scene.image_size) / np.hypot(36, 24)
    noted = lifted_with(26)
    assert noted.focal_px == pytest.approx(26 * film_mm)
    assert noted.metadata["focal_from"] == "file"
    assert not [each for each in noted.metadata["warnings"] if "lens" in each]
    given = lifted_with(26, focal=700.0)
    assert given.focal_px == 700
    assert given.metadata["focal_from"] == "given"
    for absurd in (6, 1900, None):
        guessed = lifted_with(absurd)
        assert guessed.focal_px == max(scene.image_size)
        assert guessed.metadata["focal_from"] == "guess"


def test_what_can_be_wrong_is_checked_before_the_work(
    film: Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def work(*args: Any, **options: Any) -> None:
        raise AssertionError("the work began")

    monkeypatch.setattr(files, "lift_source", work)
    path = keypoint_file(tmp_path / "walk.npz", film(seconds=0.2))
    with pytest.raises(ValueError, match="no format named 'fbx'; known"):
        lift_to_files(path, out=tmp_path / "out", formats=["fbx"])
    with pytest.raises(ValueError, match="bvh holds the motion in the world"):
        lift_to_files(path, out=tmp_path / "out", formats=["npz", "bvh"], world=None)
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        lift_to_files(tmp_path / "none.mp4", out=tmp_path / "out")
    assert names(tmp_path) == ["walk.npz"]  # no folder was made for a wrong call
    with pytest.raises(WriteError, match="choose another folder with --out"):
        lift_to_files(path, out=path)
    with pytest.raises(WriteError, match="choose another folder with --out"):
        lift_to_files(path, out=path / "below")


def test_a_failure_while_writing_is_a_write_error(
    film: Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_result", full)
    with pytest.raises(WriteError, match="No space left"):
        lift_to_files(keypoint_file(tmp_path / "walk.npz", film()), out=tmp_path / "out")


@pytest.mark.parametrize("stage", ["2D", "views"])
def test_an_interrupt_leaves_nothing_half_written(
    film: Film, make_video: Any, detecting: Any, tmp_path: Path, stage: str
):
    scene = film(seconds=0.8)
    detecting(scene.keypoints[:, None])

    def interrupt(now: str, done: int, total: int | None) -> None:
        if now == stage and done == 5:
            raise KeyboardInterrupt

    path = make_video(20, 25, scene.image_size)
    with pytest.raises(KeyboardInterrupt):
        lift_to_files(path, out=tmp_path / "out", report=interrupt)
    assert names(tmp_path / "out") == ([] if stage == "2D" else ["clip.npz"])


def test_a_writable_folder_is_made_and_left_empty(tmp_path: Path):
    check_writable(tmp_path / "a" / "b")
    assert names(tmp_path / "a" / "b") == []


def test_a_folder_that_another_machine_looks_at_too_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    touch = Path.touch

    def touched_and_taken_away(path: Path, *arguments: Any, **options: Any) -> None:
        touch(path, *arguments, **options)
        path.unlink()  # as a process of the same number on another machine does

    monkeypatch.setattr(Path, "touch", touched_and_taken_away)
    check_writable(tmp_path)


@pytest.mark.skipif(
    os.name == "nt" or (hasattr(os, "geteuid") and os.geteuid() == 0),
    reason="permissions bind neither Windows' folders nor root",
)
def test_a_folder_without_permission_is_refused(tmp_path: Path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    with pytest.raises(WriteError, match="cannot write to"):
        check_writable(closed)


# --- results of other inputs --------------------------------------------------------------------


@pytest.fixture
def two_walks(film: Film, tmp_path: Path) -> tuple[Path, Path]:
    """Files of one name with different content."""
    files = []
    for seed, folder in enumerate(("a", "b")):
        (tmp_path / folder).mkdir()
        scene = film(seconds=0.4, seed=seed)
        files.append(keypoint_file(tmp_path / folder / "walk.npz", scene))
    return files[0], files[1]


EVERY_CHOICE = [
    {"formats": [name], "video": False, "page": page}
    for name in ("npz", "json", "csv", "csv-wide", "trc", "c3d", "bvh", "glb")
    for page in (False, True)
] + [{"formats": ["bvh", "npz"], "video": False}]


@pytest.mark.parametrize("choice", EVERY_CHOICE, ids=str)
def test_the_same_input_is_lifted_again_and_another_of_its_name_is_refused(
    two_walks: tuple[Path, Path], tmp_path: Path, choice: dict[str, Any]
):
    first, other = two_walks
    out = tmp_path / "out"
    for _ in range(2):
        written = lift_to_files(first, out=out, **choice)
    silent = {path.suffix for path in written.files} - {".npz", ".json", ".html"}
    assert (out / ".walk.lithepose").exists() == bool(silent)
    before = {path: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(WriteError, match=r"not known to be a result of .*--out.*--overwrite"):
        lift_to_files(other, out=out, report=lambda *_: pytest.fail("work began"), **choice)
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    lift_to_files(other, out=out, overwrite=True, **choice)
    lift_to_files(other, out=out, **choice)
    with pytest.raises(WriteError):
        lift_to_files(first, out=out, **choice)


def test_what_stays_of_another_input_is_still_its_own(two_walks: tuple[Path, Path], tmp_path: Path):
    first, other = two_walks
    out = tmp_path / "out"
    lift_to_files(first, out=out, formats=["npz", "csv"], video=False)
    lift_to_files(other, out=out, formats=["npz"], video=False, overwrite=True)
    with pytest.raises(WriteError, match=r"walk\.csv"):
        lift_to_files(other, out=out, formats=["csv"], video=False)
    lift_to_files(first, out=out, formats=["csv"], video=False)


def test_a_file_of_the_users_own_beside_a_result_is_not_replaced(
    two_walks: tuple[Path, Path], tmp_path: Path
):
    out = tmp_path / "out"
    lift_to_files(two_walks[0], out=out, video=False)
    (out / "walk.glb").write_text("my own model")
    with pytest.raises(WriteError, match=r"walk\.glb"):
        lift_to_files(two_walks[0], out=out, formats=["npz", "glb"], video=False)


def test_a_copy_elsewhere_is_the_same_input(two_walks: tuple[Path, Path], tmp_path: Path):
    first, other = two_walks
    lift_to_files(first, out=tmp_path / "out", video=False)
    other.write_bytes(first.read_bytes())
    lift_to_files(other, out=tmp_path / "out", video=False)


def test_a_file_of_another_program_is_not_replaced(two_walks: tuple[Path, Path], tmp_path: Path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "walk.bvh").write_text("HIERARCHY")
    with pytest.raises(WriteError, match=r"walk\.bvh"):
        lift_to_files(two_walks[0], out=out, formats=["npz", "bvh"], video=False)
    assert names(out) == ["walk.bvh"]


def test_results_name_their_source_without_its_place(two_walks: tuple[Path, Path], tmp_path: Path):
    written = lift_to_files(two_walks[0], out=tmp_path / "out", video=False)
    source = read_result(written.files[0]).metadata["source"]
    assert source["file"] == "walk.npz"
    assert str(tmp_path) not in json.dumps(read_result(written.files[0]).metadata)


def test_further_people_are_not_replaced_by_those_of_another(
    film: Film, make_video: Any, detecting: Any, tmp_path: Path
):
    scene = film(seconds=0.8)
    far = (scene.keypoints - (320, 240)) * 0.5 + (120, 260)
    detecting(np.stack([scene.keypoints, far], 1))
    second = make_video(20, 25, scene.image_size, "clip-2.mp4")
    first = make_video(20, 25, scene.image_size, "clip.mp4")
    first.write_bytes(first.read_bytes() + b"\0\0\0\x08free")
    out = tmp_path / "out"
    lift_to_files(second, out=out, video=False)
    lift_to_files(first, out=out, video=False)
    with pytest.raises(WriteError, match=r"clip-2\.npz"):
        lift_to_files(first, out=out, video=False, people="all")
    lift_to_files(first, out=out, video=False, people="all", overwrite=True)
    lift_to_files(first, out=out, video=False, people="all")


def test_a_folder_is_the_same_input_when_its_results_lie_in_it(film: Film, tmp_path: Path):
    import cv2

    folder = tmp_path / "shots"
    folder.mkdir()
    for index in range(3):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((40, 60, 3), 10 * index, np.uint8))
    before = fingerprint_of(folder)
    (folder / "shots.npz").touch()
    (folder / "shots.json").touch()
    (folder / "shots.overlay.mp4").touch()
    assert fingerprint_of(folder) == before
    cv2.imwrite(str(folder / "3.png"), np.zeros((40, 60, 3), np.uint8))
    assert fingerprint_of(folder) != before


def test_a_hole_that_a_format_cannot_hold_is_said(film: Film, tmp_path: Path):
    scene = film(seconds=0.8)
    path = tmp_path / "walk.npz"
    time_s = np.arange(20) / 25 + np.where(np.arange(20) < 9, 0, 3600)
    np.savez(
        path, keypoints=scene.keypoints, time_s=time_s, image_size=(640, 480), skeleton="h36m17"
    )
    formats = ["npz", "bvh", "c3d", "trc", "glb"]
    written = lift_to_files(path, out=tmp_path / "out", formats=formats)
    (said,) = [note for note in written.result.warnings if "hole" in note]
    assert "3600.04 s after 0.32 s, which BVH and C3D cannot hold" in said
    written = lift_to_files(path, out=tmp_path / "out", video=False)
    assert not [note for note in written.result.warnings if "hole" in note]
