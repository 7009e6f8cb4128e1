"""lithepose convert: results to files for other programs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from lithepose.cli import main
from lithepose.formats import FORMATS, read_result, write_result
from lithepose.formats.bvh import read_bvh
from lithepose.poses import Track3D, World
from lithepose.world.rig import NODES, rig_points


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["convert", *(str(argument) for argument in arguments)])


@pytest.fixture
def track() -> Track3D:
    """Three frames of a person whose every bone is 20 cm long and points up."""
    offsets = np.tile([0, 0, 0.2], (len(NODES), 1))
    offsets[0] = 0
    rotations = np.tile([1.0, 0, 0, 0], (3, len(NODES), 1))
    markers = np.zeros((31, 3))
    world = World(
        points=rig_points(offsets, markers, np.ones((3, 3)), rotations),
        offsets=offsets,
        markers=markers,
        rotations=rotations,
        contact=np.zeros((3, 2), dtype=bool),
        camera_rotation=np.eye(3),
        camera_position=np.zeros(3),
    )
    return Track3D(
        person=0,
        joints_camera=world.points[:, :17],
        confidence=np.ones((3, 17)),
        keypoints_2d=np.ones((3, 17, 2)),
        derived=np.zeros(17, dtype=bool),
        time_s=np.arange(3) / 25,
        fps=25.0,
        image_size=(640, 480),
        focal_px=600.0,
        world=world,
    )


@pytest.fixture
def result(track: Track3D, tmp_path: Path) -> Path:
    return write_result(tmp_path / "walk", track, ["npz"])[0]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("source", ["npz", "json"])
def test_a_result_becomes_any_format_by_its_ending(tmp_path, track, source, name):
    (path,) = write_result(tmp_path / "läuft", track, [source])
    out = tmp_path / "new" / f"走る{FORMATS[name][0]}"
    done = run(path, out)
    assert (done.exit_code, done.stdout, done.stderr) == (0, f"{out}\n", "")
    (expected,) = write_result(tmp_path / "走る", read_result(path), [name])
    assert out.read_bytes() == expected.read_bytes()


def test_the_format_can_be_named(tmp_path, result):
    assert run(result, tmp_path / "walk.txt", "--format", "bvh").exit_code == 0
    assert read_bvh(tmp_path / "walk.txt").names[0] == "Hips"


def test_a_person_on_the_spot_is_mentioned(tmp_path, track):
    still = replace(track, world=replace(track.world, has_path=False))
    (path,) = write_result(tmp_path / "walk", still, ["npz"])
    done = run(path, tmp_path / "walk.bvh")
    assert done.exit_code == 0
    assert "move on the spot" in done.stderr


@pytest.mark.parametrize(
    ("source", "out", "message"),
    [
        ("none.npz", "x.bvh", "none.npz"),
        ("walk.mp4", "x.bvh", "give the .npz or .json file"),
        ("bad.npz", "x.bvh", "bad.npz is not a readable .npz archive"),
        ("walk.npz", "x.fbx", "cannot tell the format of"),
        ("bare.npz", "x.glb", "lift the clip again"),
    ],
)
def test_what_cannot_be_read_or_told_ends_with_2(tmp_path, track, result, source, out, message):
    (tmp_path / "bad.npz").write_bytes(b"PK")
    write_result(tmp_path / "bare", replace(track, world=None), ["npz"])
    done = run(tmp_path / source, tmp_path / out)
    assert done.exit_code == 2
    assert done.stderr.startswith("lithepose: ")
    assert message in done.stderr
    assert not (tmp_path / out).exists()


def test_an_unknown_format_lists_the_known_ones(tmp_path, result):
    done = run(result, tmp_path / "x", "--format", "fbx")
    assert done.exit_code == 2
    assert "'npz', 'json'" in done.stderr


def test_a_place_that_cannot_be_written_to_ends_with_4(tmp_path, result):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.bvh").mkdir()
    for out in (tmp_path / "file" / "x.bvh", tmp_path / "folder.bvh"):
        done = run(result, out)
        assert done.exit_code == 4
        assert "cannot write" in done.stderr


def test_the_input_is_never_overwritten(tmp_path, result):
    before = result.read_bytes()
    (tmp_path / "link.npz").symlink_to(result)
    for out, extra in ((result, ()), (tmp_path / "link.npz", ()), (result, ("--format", "bvh"))):
        done = run(result, out, *extra)
        assert done.exit_code == 4
        assert "is the file to read" in done.stderr
    assert result.read_bytes() == before
