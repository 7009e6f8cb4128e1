"""Results as NumPy archives."""

from __future__ import annotations

import errno
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lithepose.formats import npz
from lithepose.formats.npz import read_npz, write_npz
from lithepose.formats.record import OPTIONAL, RECORD


def test_a_result_comes_back_as_it_was(tmp_path, make_track, assert_same_track):
    track = make_track()
    write_npz(tmp_path / "walk.npz", track)
    assert_same_track(read_npz(tmp_path / "walk.npz"), track)
    assert [p.name for p in tmp_path.iterdir()] == ["walk.npz"]


def test_a_result_with_a_world_comes_back_too(tmp_path, make_walker, assert_same_track):
    track = make_walker(6, missing=(0, 3))
    write_npz(tmp_path / "walk.npz", track)
    assert_same_track(read_npz(tmp_path / "walk.npz"), track)
    with np.load(tmp_path / "walk.npz", allow_pickle=False) as archive:
        assert archive["points_3d_world"].dtype == np.float32
        assert archive["joints_3d_world"].shape == (6, 17, 3)
        assert archive["rig_nodes"].tolist()[:3] == ["Hips", "Spine", "Spine1"]
        assert archive["rig_rotations"].shape == (6, 27, 4)


@pytest.mark.parametrize("absent", [("points_camera",), ("confidence_3d",), ("world",)])
def test_each_part_may_be_absent_for_itself(tmp_path, make_walker, assert_same_track, absent):
    track = make_walker(**dict.fromkeys(absent))
    write_npz(tmp_path / "walk.npz", track)
    assert_same_track(read_npz(tmp_path / "walk.npz"), track)


def test_a_person_on_the_spot_stays_there(tmp_path, make_walker):
    track = make_walker()
    still = replace(track, world=replace(track.world, has_path=False))
    write_npz(tmp_path / "walk.npz", still)
    assert read_npz(tmp_path / "walk.npz").world.has_path is False


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rig_offsets": None, "contact": None}, "lacks rig_offsets, contact"),
        ({"point_names": None}, "lacks point_names"),
        ({"points_3d_world": np.zeros((4, 17, 3))}, r"points_3d_world must be \(6, 31, 3\)"),
        ({"rig_nodes": np.array(["a"] * 27)}, "rig_nodes are not the rig's nodes"),
        ({"rig_parents": np.zeros(27, int)}, "rig_parents is another tree"),
        ({"rig_rotations": np.zeros((6, 27, 4))}, "rig_rotations must be unit quaternions"),
        ({"point_names": np.array(["a"] * 31)}, "point_names are not the joints of lithepose31"),
    ],
)
def test_a_damaged_world_is_refused_by_name(tmp_path, make_walker, changes, message):
    path = tmp_path / "walk.npz"
    write_npz(path, make_walker(6))
    rewrite(path, **changes)
    with pytest.raises(ValueError, match=message):
        read_npz(path)


def test_names_of_later_versions_are_left_alone(tmp_path, make_walker, assert_same_track):
    path = tmp_path / "walk.npz"
    write_npz(path, make_walker(6))
    rewrite(path, muscles=np.zeros(3))
    assert_same_track(read_npz(path), make_walker(6))


def test_the_archive_has_the_stable_names_shapes_and_types_without_pickles(tmp_path, make_track):
    write_npz(tmp_path / "walk.npz", make_track(frames=4))
    with np.load(tmp_path / "walk.npz", allow_pickle=False) as archive:
        content = {name: (archive[name].shape, archive[name].dtype.kind) for name in archive}
        assert archive["joints_3d_camera"].dtype == np.float32
        assert archive["joint_names"][7:11].tolist() == ["spine", "thorax", "nose", "head_top"]
        assert archive["parents"].tolist()[:4] == [-1, 0, 1, 2]
        assert archive["image_size"].tolist() == [1280, 720]
        assert float(archive["fps"]) == 29.97
        assert str(archive["schema"]) == "lithepose/1"
        assert json.loads(str(archive["metadata"]))["height_m"] == 1.75
    assert content == {
        "joints_3d_camera": ((4, 17, 3), "f"),
        "keypoints_2d": ((4, 17, 2), "f"),
        "confidence": ((4, 17), "f"),
        "fps": ((), "f"),
        "time_s": ((4,), "f"),
        "image_size": ((2,), "i"),
        "focal_px": ((), "f"),
        "joint_names": ((17,), "U"),
        "parents": ((17,), "i"),
        "derived": ((17,), "b"),
        "person": ((), "i"),
        "schema": ((), "U"),
        "metadata": ((), "U"),
    }


def test_the_name_is_kept_even_without_the_suffix(tmp_path, make_track):
    write_npz(tmp_path / "walk.result", make_track())
    assert [p.name for p in tmp_path.iterdir()] == ["walk.result"]


def test_numpy_values_in_the_metadata_become_numbers_and_nan_becomes_null(tmp_path, make_track):
    metadata = {"error_px": np.float32(1.5), "scale": float("nan"), "bones_m": np.ones(2)}
    write_npz(tmp_path / "walk.npz", make_track(metadata=metadata))
    result = read_npz(tmp_path / "walk.npz").metadata
    assert result == {"error_px": 1.5, "scale": None, "bones_m": [1.0, 1.0]}


def test_metadata_that_json_cannot_hold_is_refused(tmp_path, make_track):
    with pytest.raises(ValueError, match=r"JSON-ready; found .* of type object"):
        write_npz(tmp_path / "walk.npz", make_track(metadata={"x": object()}))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_leaves_the_old_result(tmp_path, make_track, monkeypatch):
    path = tmp_path / "walk.npz"
    path.write_bytes(b"old")

    def fill_up(file, **arrays):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(npz.np, "savez_compressed", fill_up)
    with pytest.raises(OSError, match="disk is full"):
        write_npz(path, make_track())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_track_of_wrong_shape_is_not_written(tmp_path, make_track):
    with pytest.raises(ValueError, match=r"the track: confidence must be \(4, 17\).*\(3, 17\)"):
        write_npz(tmp_path / "walk.npz", make_track(confidence=np.ones((3, 17))))
    with pytest.raises(ValueError, match="the track has no frames"):
        write_npz(tmp_path / "walk.npz", make_track(joints_camera=np.zeros((0, 17, 3))))
    assert list(tmp_path.iterdir()) == []


def rewrite(path, **changes):
    """The same archive with some arrays replaced, or left out where None."""
    with np.load(path, allow_pickle=False) as archive:
        arrays = {**{name: archive[name] for name in archive.files}, **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": "lithepose/2"}, "later version"),
        ({"schema": None}, "has schema 'none'"),
        ({"fps": None, "person": None}, "lacks fps, person"),
        ({"keypoints_2d": np.zeros((4, 16, 2))}, r"keypoints_2d must be \(4, 17, 2\)"),
        ({"fps": "fast"}, "fps is not an array of numbers"),
        ({"metadata": "{"}, "metadata is not JSON"),
        ({"metadata": "[]"}, "metadata must be a JSON object"),
        ({"joint_names": np.array(["a"] * 17)}, "joint_names are not the joints of h36m17"),
        ({"joints_3d_camera": np.float32(1)}, "has no frames"),
    ],
)
def test_files_that_are_no_results_are_refused_by_name(tmp_path, make_track, changes, message):
    path = tmp_path / "walk.npz"
    write_npz(path, make_track())
    rewrite(path, **changes)
    with pytest.raises(ValueError, match=message) as caught:
        read_npz(path)
    assert "walk.npz" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 broken"])
def test_damaged_archives_are_refused(tmp_path, content):
    path = tmp_path / "walk.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"walk\.npz is not a readable"):
        read_npz(path)


def test_truncated_archives_are_refused(tmp_path, make_track):
    path = tmp_path / "walk.npz"
    write_npz(path, make_track())
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match="is not a readable"):
        read_npz(path)


def test_archives_with_pickles_are_refused(tmp_path):
    np.savez(tmp_path / "evil.npz", schema=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="is not a readable"):
        read_npz(tmp_path / "evil.npz")


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_npz(tmp_path / "none.npz")


def test_the_pages_list_the_arrays_as_they_are():
    docs = Path(__file__).parents[2] / "docs"
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for page in ("conventions.md", "guides/files.md")
        for line in (docs / page).read_text(encoding="utf-8").splitlines()
        if re.match(r"\| `\w+` ", line)
    ]
    listed = {row[0].strip("`"): (row[1], row[2]) for row in rows if len(row) == 4}
    expected = {"schema": ("", "text"), "metadata": ("", "JSON")}
    for name, (shape, kind) in (RECORD | OPTIONAL).items():
        sizes = ", ".join(str(size) for size in shape) + ("," if len(shape) == 1 else "")
        text = {np.str_: "text", np.bool_: "bool"}.get(kind, kind.__name__)
        expected[name] = (f"({sizes})" if shape else "", text)
    assert listed == expected
