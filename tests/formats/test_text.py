"""Results as JSON and CSV, and the table of formats."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from lithepose.formats import FORMATS, format_of, format_writer, read_result, write_result
from lithepose.formats.text import read_json, write_csv, write_csv_wide, write_json
from lithepose.skeletons import SKELETONS

JOINTS = SKELETONS["h36m17"].joints


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_json_brings_a_result_back_to_the_stated_precision(tmp_path, make_track, assert_same_track):
    track = make_track()
    write_json(tmp_path / "walk.json", track)
    assert_same_track(read_json(tmp_path / "walk.json"), track, atol=1e-6)


def test_json_brings_the_world_back_and_its_quaternions_of_unit_length(
    tmp_path, make_walker, assert_same_track
):
    track = make_walker(6, missing=(0, 3))
    write_json(tmp_path / "walk.json", track)
    result = read_json(tmp_path / "walk.json")
    assert_same_track(result, track, atol=1e-6)
    length = np.linalg.norm(result.world.rotations.astype(float), axis=-1)
    np.testing.assert_allclose(length[[1, 2, 4, 5]], 1, atol=2e-7)
    assert np.isnan(length[[0, 3]]).all()


def test_json_is_strict_and_has_null_for_missing_joints(tmp_path, make_track):
    write_json(tmp_path / "walk.json", make_track())

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    text = (tmp_path / "walk.json").read_text(encoding="utf-8")
    content = json.loads(text, parse_constant=refuse)
    assert content["schema"] == "lithepose/1"
    assert content["keypoints_2d"][1][13] == [None, None]
    assert content["joints_3d_camera"][3][0] == [None, None, None]
    assert content["confidence"][1][13] == 0
    assert content["joint_names"] == list(JOINTS)
    assert content["derived"][0] is True
    assert content["metadata"]["notes"] == ["ß", None]


def test_csv_has_a_row_per_joint_and_frame(tmp_path, make_track):
    track = make_track()
    write_csv(tmp_path / "walk.csv", track)
    rows = rows_of(tmp_path / "walk.csv")
    assert len(rows) == 4 * 17
    assert list(rows[0]) == [
        "frame", "time_s", "person", "joint", "x_m", "y_m", "z_m", "u_px", "v_px", "confidence",
    ]  # fmt: skip
    row = rows[17 + 13]
    assert (row["frame"], row["person"], row["joint"]) == ("1", "2", "left_wrist")
    assert (row["u_px"], row["v_px"], row["confidence"]) == ("", "", "0.0000")
    assert float(row["z_m"]) == pytest.approx(track.joints_camera[1, 13, 2], abs=1e-6)
    assert float(row["time_s"]) == pytest.approx(1 / 29.97, abs=1e-6)
    assert all(row["x_m"] == "" for row in rows[-17:])


def test_wide_csv_has_a_row_per_frame_with_the_same_values(tmp_path, make_track):
    write_csv(tmp_path / "long.csv", make_track())
    write_csv_wide(tmp_path / "wide.csv", make_track())
    wide = rows_of(tmp_path / "wide.csv")
    assert len(wide) == 4
    assert len(wide[0]) == 3 + 17 * 6
    for row in rows_of(tmp_path / "long.csv"):
        for column in ("x_m", "y_m", "z_m", "u_px", "v_px", "confidence"):
            assert wide[int(row["frame"])][f"{row['joint']}_{column}"] == row[column]


def test_csv_adds_points_and_world_behind_what_was_there(tmp_path, make_walker):
    track = make_walker(3, missing=(2,))
    bare = replace(track, points_camera=None, confidence_3d=None, world=None)
    for write in (write_csv, write_csv_wide):
        write(tmp_path / "full.csv", track)
        write(tmp_path / "bare.csv", bare)
        with (tmp_path / "full.csv").open() as full, (tmp_path / "bare.csv").open() as old:
            if write is write_csv_wide:
                for one, other in zip(full, old, strict=True):
                    assert one.startswith(other.rstrip("\n") + ",")
            else:
                lines, before = full.read().splitlines(), old.read().splitlines()
                assert lines[0] == before[0] + ",world_x_m,world_y_m,world_z_m"
                for frame in range(3):
                    new = lines[1 + 31 * frame : 18 + 31 * frame]
                    known = before[1 + 17 * frame : 18 + 17 * frame]
                    assert all(a.startswith(b + ",") for a, b in zip(new, known, strict=True))
    write_csv(tmp_path / "long.csv", track)
    write_csv_wide(tmp_path / "wide.csv", track)
    rows, wide = rows_of(tmp_path / "long.csv"), rows_of(tmp_path / "wide.csv")
    assert len(rows) == 3 * 31
    assert list(wide[0])[-1] == "right_pinky_world_z_m"
    heel = rows[31 + 21]
    assert (heel["joint"], heel["u_px"], heel["confidence"]) == ("left_heel", "", "0.7500")
    assert float(heel["z_m"]) == pytest.approx(track.points_camera[1, 21, 2], abs=1e-6)
    assert float(heel["world_z_m"]) == pytest.approx(track.world.points[1, 21, 2], abs=1e-6)
    assert all(row["world_x_m"] == "" for row in rows[-31:])
    for row in rows:
        for column in list(rows[0])[4:]:
            assert wide[int(row["frame"])][f"{row['joint']}_{column}"] == row[column]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_writes_one_file_named_by_its_ending(tmp_path, make_walker, name):
    paths = write_result(tmp_path / "größe 走.2", make_walker(), [name])
    assert [p.name for p in paths] == ["größe 走.2" + FORMATS[name][0]]
    assert list(tmp_path.iterdir()) == paths
    assert paths[0].stat().st_size > 0
    assert format_of(paths[0]) == name
    assert format_of(str(paths[0]).upper()) == name


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_takes_a_single_frame(tmp_path, make_walker, name):
    (path,) = write_result(tmp_path / "one", make_walker(frames=1), [name])
    assert path.stat().st_size > 0


@pytest.mark.parametrize("name", ["trc", "c3d", "bvh", "glb"])
def test_formats_of_the_world_say_what_they_lack(tmp_path, make_track, make_walker, name):
    everywhere = tuple(range(5))
    for track, message in (
        (make_track(), "holds motion in the world, which this result lacks: lift the clip again"),
        (make_walker(5, missing=everywhere), "there is nobody in any frame"),
        (make_walker(5, fps=0.0), "needs a frame rate above 0; found 0"),
        (make_walker(5, time_s=np.arange(4.0)), r"points must be \(4, 31, 3\) with 4 frames"),
    ):
        with pytest.raises(ValueError, match=message):
            format_writer(name)(tmp_path / "x", track)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FORMATS)
def test_a_place_that_cannot_be_written_to_is_left_as_it_was(tmp_path, make_walker, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="that is a folder"):
        format_writer(name)(tmp_path / "folder", make_walker())
    (tmp_path / "file").write_text("old")
    with pytest.raises(OSError, match="not a folder"):
        format_writer(name)(tmp_path / "file" / "x", make_walker())
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "folder"]


def test_a_name_without_a_known_ending_is_no_format():
    with pytest.raises(
        ValueError, match=r"format of walk\.fbx from its name; known: \.npz, \.json"
    ):
        format_of("walk.fbx")


def test_endings_differ_so_that_formats_do_not_overwrite_each_other():
    endings = [ending for ending, _ in FORMATS.values()]
    assert len(set(endings)) == len(endings)


def test_several_formats_are_written_in_order_and_once(tmp_path, make_track):
    paths = write_result(tmp_path / "new" / "walk", make_track(), ["json", "npz", "json"])
    assert [p.name for p in paths] == ["walk.json", "walk.npz"]


def test_an_unknown_format_is_refused_before_anything_is_written(tmp_path, make_track):
    with pytest.raises(ValueError, match="no format named 'xlsx'; known: npz, json, csv"):
        write_result(tmp_path / "walk", make_track(), ["npz", "xlsx"])
    with pytest.raises(ValueError, match="no format to write"):
        write_result(tmp_path / "walk", make_track(), [])
    with pytest.raises(ValueError, match="no format named 'npy'"):
        format_writer("npy")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["npz", "json"])
def test_results_are_read_by_their_suffix(tmp_path, make_track, assert_same_track, name):
    (path,) = write_result(tmp_path / "walk", make_track(), [name])
    assert_same_track(read_result(path), make_track(), atol=1e-6)


def test_a_csv_is_no_full_result(tmp_path):
    with pytest.raises(ValueError, match=r"give the \.npz or \.json"):
        read_result(tmp_path / "walk.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not readable JSON"),
        ("[1, 2]", "holds a JSON list"),
        ("{}", "has schema 'none'"),
        ('{"schema": "lithepose/1"}', "lacks joints_3d_camera, keypoints_2d"),
    ],
)
def test_other_json_files_are_refused(tmp_path, text, message):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_json(tmp_path / "x.json")


def test_ragged_json_arrays_are_refused(tmp_path, make_track):
    write_json(tmp_path / "x.json", make_track())
    content = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    content["confidence"][0] = [1.0]
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="confidence is not an array of numbers"):
        read_json(tmp_path / "x.json")


@pytest.mark.parametrize("write", [write_json, write_csv, write_csv_wide])
def test_a_track_of_wrong_shape_is_not_written(tmp_path, make_track, write):
    with pytest.raises(ValueError, match="time_s must be"):
        write(tmp_path / "walk.txt", make_track(time_s=np.zeros(3)))
    assert list(tmp_path.iterdir()) == []


def test_a_single_frame_is_a_result_too(tmp_path, make_track, assert_same_track):
    for path in write_result(tmp_path / "one", make_track(frames=1), ["npz", "json"]):
        assert_same_track(read_result(path), make_track(frames=1), atol=1e-6)


def test_the_table_loads_without_its_modules():
    code = (
        "import sys, lithepose.formats; "
        "print([m for m in sys.modules if m.startswith('lithepose.formats.')])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_the_name_of_a_file_says_its_format_and_further_people_get_numbers(tmp_path, make_track):
    people = [make_track(), replace(make_track(), person=2)]
    assert write_result(tmp_path / "a.wide.csv", people[0]) == [tmp_path / "a.wide.csv"]
    paths = write_result(tmp_path / "walk.npz", people)
    assert [path.name for path in paths] == ["walk.npz", "walk-2.npz"]
    assert read_result(paths[1]).person == 2
    paths = write_result(tmp_path / "v1.2", people, ["json", "npz"])
    assert [path.name for path in paths] == ["v1.2.json", "v1.2.npz", "v1.2-2.json", "v1.2-2.npz"]
    with pytest.raises(ValueError, match="cannot tell the format"):
        write_result(tmp_path / "walk", people)
