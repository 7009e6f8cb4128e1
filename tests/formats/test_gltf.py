"""GLB: judged by Khronos' validator and by an independent reader."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lithepose.formats import gltf
from lithepose.formats.figure import Y_UP, motion_of
from lithepose.formats.gltf import write_glb
from lithepose.rotations import from_quaternions
from lithepose.view.strokes import CENTRE, LEFT, RIGHT
from lithepose.world.rig import NODE_PARENTS, NODES, pose_nodes

KINDS = {5121: "u1", 5123: "<u2", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Glb:
    """A file taken apart with no more than the standard says."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        magic, version, length = struct.unpack_from("<4sII", data)
        assert (magic, version, length) == (b"glTF", 2, len(data))
        (size,) = struct.unpack_from("<I", data, 12)
        self.content = json.loads(data[20 : 20 + size])
        self.binary = data[20 + size + 8 :]

    def array(self, accessor: int) -> np.ndarray:
        entry = self.content["accessors"][accessor]
        view = self.content["bufferViews"][entry["bufferView"]]
        width = WIDTHS[entry["type"]]
        count = entry["count"] * width
        kind = np.dtype(KINDS[entry["componentType"]])
        return np.frombuffer(self.binary, kind, count, view["byteOffset"]).reshape(-1, width)


@pytest.fixture
def glb(tmp_path, make_walker) -> Glb:
    write_glb(tmp_path / "walk.glb", make_walker(missing=(0, 10, 11)))
    return Glb(tmp_path / "walk.glb")


@pytest.fixture(scope="session")
def validate():
    """Khronos' validator: a function (path) that gives its report."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node and its package gltf-validator")
    folder = os.environ.get("LITHEPOSE_GLTF_VALIDATOR")
    if folder is None and (npm := shutil.which("npm")) is not None:
        done = subprocess.run([npm, "root", "-g"], capture_output=True, text=True)
        folder = str(Path(done.stdout.strip()) / "gltf-validator")
    if folder is None or not Path(folder).is_dir():
        pytest.skip(
            "needs the validator: npm install -g gltf-validator, or its folder in "
            "LITHEPOSE_GLTF_VALIDATOR"
        )
    program = (
        "const [folder, path] = process.argv.slice(1);"
        "const bytes = new Uint8Array(require('fs').readFileSync(path));"
        "require(folder).validateBytes(bytes).then(r => console.log(JSON.stringify(r)));"
    )

    def report(path: Path) -> dict:
        command = [node, "-e", program, folder, str(path)]
        return json.loads(
            subprocess.run(command, capture_output=True, text=True, check=True).stdout
        )

    return report


@pytest.mark.parametrize("frames", [1, 30])
def test_the_validator_finds_nothing_to_say(tmp_path, make_walker, validate, frames):
    write_glb(tmp_path / "größe.glb", make_walker(frames))
    report = validate(tmp_path / "größe.glb")
    assert report["issues"]["messages"] == []
    assert report["info"]["animationCount"] == 1
    assert report["info"]["hasSkins"]
    assert report["info"]["totalTriangleCount"] < 5000


def test_an_independent_reader_finds_the_figure_where_it_should_be(tmp_path, make_walker):
    pygltflib = pytest.importorskip("pygltflib", reason="needs the reader: pip install pygltflib")
    track = make_walker(missing=(0, 10, 11))
    write_glb(tmp_path / "walk.glb", track)
    file = pygltflib.GLTF2().load(str(tmp_path / "walk.glb"))
    blob = file.binary_blob()

    def array(accessor: int) -> np.ndarray:
        entry = file.accessors[accessor]
        view = file.bufferViews[entry.bufferView]
        width = WIDTHS[entry.type]
        floats = np.frombuffer(blob, "<f4", entry.count * width, view.byteOffset)
        return floats.reshape(-1, width).astype(float)

    frames = 30
    moves = {name: np.tile(np.eye(4), (frames, 1, 1)) for name in NODES}
    (animation,) = file.animations
    for node in file.nodes[: len(NODES)]:
        moves[node.name][:, :3, 3] = node.translation
    for channel in animation.channels:
        sampler = animation.samplers[channel.sampler]
        np.testing.assert_allclose(array(sampler.input)[:, 0], track.time_s, atol=1e-6)
        move = moves[file.nodes[channel.target.node].name]
        if channel.target.path == "translation":
            move[:, :3, 3] = array(sampler.output)
        else:
            move[:, :3, :3] = from_quaternions(array(sampler.output)[:, [3, 0, 1, 2]])

    found = {}

    def follow(node: int, above: np.ndarray) -> None:
        here = above @ moves[file.nodes[node].name]
        found[file.nodes[node].name] = here[:, :3, 3]
        for child in file.nodes[node].children or ():
            follow(child, here)

    follow(file.scenes[file.scene].nodes[0], np.eye(4))
    assert list(found) == list(NODES)
    motion = motion_of(track.world, track.time_s)
    places, _ = pose_nodes(track.world.offsets, motion.root, motion.rotations)
    for index, name in enumerate(NODES):
        np.testing.assert_allclose(found[name], places[:, index] @ Y_UP.T, atol=1e-5, err_msg=name)


def posed_vertices(file: Glb, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """Every vertex as a viewer places it in a frame (V, 3), and the joint that carries it (V,)."""
    content = file.content
    (animation,) = content["animations"]
    turns = np.tile([0.0, 0, 0, 1], (len(NODES), 1))
    steps = np.array([node["translation"] for node in content["nodes"][: len(NODES)]])
    for channel in animation["channels"]:
        value = file.array(animation["samplers"][channel["sampler"]]["output"])[frame]
        rotates = channel["target"]["path"] == "rotation"
        (turns if rotates else steps)[channel["target"]["node"]] = value
    offsets, root = steps.copy(), steps[None, 0]
    places, rotations = pose_nodes(offsets, root, turns[None, :, [3, 0, 1, 2]])
    bind = file.array(content["skins"][0]["inverseBindMatrices"]).reshape(-1, 4, 4)
    vertices, carriers = [], []
    for primitive in content["meshes"][0]["primitives"]:
        attributes = primitive["attributes"]
        points = file.array(attributes["POSITION"])
        joint = file.array(attributes["JOINTS_0"])[:, 0]
        assert (file.array(attributes["WEIGHTS_0"]) == [1, 0, 0, 0]).all()
        local = points + bind[joint, 3, :3]  # columns first: the last row of this array moves
        vertices.append(places[0, joint] + np.einsum("vij,vj->vi", rotations[0, joint], local))
        carriers.append(joint)
    return np.concatenate(vertices), np.concatenate(carriers)


def test_a_raised_left_arm_is_up_on_the_left(tmp_path, left_arm_raised):
    write_glb(tmp_path / "arm.glb", left_arm_raised)
    file = Glb(tmp_path / "arm.glb")
    vertices, carriers = posed_vertices(file, 0)
    forearm = vertices[carriers == NODES.index("LeftForeArm")]
    hand = vertices[carriers == NODES.index("LeftHand")]
    # The forearm is a capsule with round ends from (0.18, 1.78, -3) to (0.18, 2.04, -3).
    np.testing.assert_allclose((forearm.max(0) + forearm.min(0)) / 2, [0.18, 1.91, -3], atol=2e-3)
    assert hand[:, 1].max() == pytest.approx(2.04 + 0.19, abs=1e-3)
    assert vertices[:, 1].min() == pytest.approx(0, abs=0.03)
    # The nose's side: the person faces the camera, +z.
    assert vertices[carriers == NODES.index("LeftToeBase")][:, 2].mean() > -2.9


def test_the_rest_pose_stands_on_the_floor_facing_z_with_the_left_arm_along_x(glb):
    places = np.zeros((len(NODES), 3))
    for node, parent in enumerate(NODE_PARENTS):
        above = places[parent] if parent >= 0 else 0
        places[node] = above + np.array(glb.content["nodes"][node]["translation"])
    np.testing.assert_allclose(places[0], [0, 0.98, 0], atol=1e-6)
    np.testing.assert_allclose(places[NODES.index("LeftHand")], [0.74, 1.48, 0], atol=1e-6)
    assert places[NODES.index("LeftToeEnd"), 2] > 0.2
    assert places[NODES.index("HeadEnd"), 1] == pytest.approx(1.80)


def test_quaternions_stay_on_one_side_and_of_unit_length(glb):
    (animation,) = glb.content["animations"]
    for channel in animation["channels"]:
        assert "interpolation" not in animation["samplers"][channel["sampler"]]  # linear
        values = glb.array(animation["samplers"][channel["sampler"]]["output"]).astype(float)
        if channel["target"]["path"] == "rotation":
            assert ((values[1:] * values[:-1]).sum(-1) > 0).all()
            np.testing.assert_allclose(np.linalg.norm(values, axis=-1), 1, atol=1e-6)


def test_the_body_is_closed_and_turned_outwards(glb):
    for primitive in glb.content["meshes"][0]["primitives"]:
        points = glb.array(primitive["attributes"]["POSITION"]).astype(float)
        normals = glb.array(primitive["attributes"]["NORMAL"])
        faces = glb.array(primitive["indices"]).reshape(-1, 3)
        a, b, c = (points[faces[:, corner]] for corner in range(3))
        outwards = np.cross(b - a, c - a)
        mean = normals[faces].mean(1)
        assert ((outwards * mean).sum(-1) > 0).all()
        edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).tolist()
        assert {(a, b) for a, b in edges} == {(b, a) for a, b in edges}


def test_left_is_orange_and_right_is_blue_as_in_pictures(glb):
    for name, colour in (("left", LEFT), ("right", RIGHT), ("middle", CENTRE)):
        srgb = np.array(colour) / 255
        linear = ((srgb + 0.055) / 1.055) ** 2.4
        np.testing.assert_allclose(gltf._COLOURS[name], linear, atol=1e-3)
    for primitive in glb.content["meshes"][0]["primitives"]:
        name = glb.content["materials"][primitive["material"]]["name"]
        x = glb.array(primitive["attributes"]["POSITION"])[:, 0]
        assert {"left": x.mean() > 0.1, "right": x.mean() < -0.1}.get(name, abs(x.mean()) < 1e-3)


def test_times_that_stand_still_are_refused(tmp_path, make_walker):
    still = replace(make_walker(3), time_s=np.array([0, 0.04, 0.04]))
    with pytest.raises(ValueError, match="time stamps that increase"):
        write_glb(tmp_path / "x.glb", still)
    assert list(tmp_path.iterdir()) == []
