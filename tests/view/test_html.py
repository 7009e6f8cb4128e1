"""The page is tested by what lies in it, and, where a browser is installed, by what it shows."""

from __future__ import annotations

import base64
import contextlib
import csv
import json
import os
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lithepose.formats.text import read_json, write_csv, write_json
from lithepose.poses import Track3D, World
from lithepose.skeletons import SKELETONS
from lithepose.video import VideoWriter, open_video
from lithepose.view import html, page_data
from lithepose.view.facts import facts_of
from lithepose.view.html import PageVideo, write_page

BODY = SKELETONS["lithepose31"]
SIZE = (320, 240)
FOCAL = 300.0
FRAMES = 24
FPS = 24.0
PAGE = Path(html.__file__).parent / "page"
# The sources stay in the repository; what is installed has the bundle made from them.
SOURCES = Path(__file__).parents[2] / "src" / "lithepose" / "view" / "page" / "src"

# A person 1.7 m tall who faces the camera: x right, y down, z ahead, around the pelvis.
STANDING = np.array(
    [
        [0, 0, 0], [-0.13, 0, 0], [-0.13, 0.45, 0], [-0.13, 0.88, 0], [0.13, 0, 0],
        [0.13, 0.45, 0], [0.13, 0.88, 0], [0, -0.25, 0], [0, -0.5, 0], [0, -0.6, -0.1],
        [0, -0.75, 0], [0.17, -0.5, 0], [0.35, -0.3, 0], [0.5, -0.1, 0], [-0.17, -0.5, 0],
        [-0.35, -0.3, 0], [-0.5, -0.1, 0], [0.03, -0.64, -0.08], [-0.03, -0.64, -0.08],
        [0.07, -0.64, 0], [-0.07, -0.64, 0], [0.13, 0.93, 0.04], [-0.13, 0.93, 0.04],
        [0.12, 0.95, -0.17], [-0.12, 0.95, -0.17], [0.18, 0.95, -0.13], [-0.18, 0.95, -0.13],
        [0.56, -0.05, 0], [-0.56, -0.05, 0], [0.54, -0.02, 0], [-0.54, -0.02, 0],
    ]
)  # fmt: skip
LEVEL = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
HOSTILE = "</script><script>window.hacked = 1</script><!-- & \u2028 \u2029 \"'\u00e9\u4eba"


def make_track(person: int = 0, *, frames: int = FRAMES, x: float = 0.0, **changes: Any) -> Track3D:
    """Someone who walks to the right, 2 cm per frame, 3.5 m before the camera; 17 joints."""
    joints = STANDING[None, :17] + [x, 0.0, 3.5]
    joints = joints + np.arange(frames)[:, None, None] * np.array([0.02, 0, 0])
    track = Track3D(
        person=person,
        joints_camera=joints,
        confidence=np.linspace(0.2, 1, frames)[:, None] * np.ones(17),
        keypoints_2d=FOCAL * joints[..., :2] / joints[..., 2:] + np.array(SIZE) / 2,
        derived=np.zeros(17, bool),
        time_s=np.arange(frames) / FPS,
        fps=FPS,
        image_size=SIZE,
        focal_px=FOCAL,
        metadata={"height_m": 1.7, "height_known": False, "focal_known": True},
    )
    return replace(track, **changes)


def in_world(track: Track3D, **changes: Any) -> Track3D:
    """The same person with 31 points and a world, whose floor is 1 m below the camera."""
    points = STANDING[None] + track.joints_camera[:, :1]
    position = np.array([0.0, 0.0, 1.0])
    rotations = np.zeros((len(points), 27, 4))
    rotations[..., 0] = 1
    world = World(
        points=points @ LEVEL + position,
        offsets=np.zeros((27, 3)),
        markers=np.zeros((31, 3)),
        rotations=rotations,
        contact=np.arange(2 * len(points)).reshape(-1, 2) % 3 > 0,
        camera_rotation=LEVEL,
        camera_position=position,
    )
    return replace(
        track,
        points_camera=points,
        confidence_3d=np.full((len(points), 31), 0.8),
        world=replace(world, **changes),
    )


def make_clip(path: Path, *, frames: int = FRAMES, size: tuple[int, int] = SIZE) -> Path:
    with VideoWriter(path, size=size, fps=FPS) as writer:
        for index in range(frames):
            writer.write(np.full((size[1], size[0], 3), 40 + 5 * index, np.uint8))
    return path


def text_of(page: Path, element: str) -> str:
    found = re.search(
        rf'<script type="[^"]*" id="{element}">(.*?)</script>', page.read_text("utf-8")
    )
    assert found is not None
    return found[1]


def data_of(page: Path) -> dict[str, Any]:
    return json.loads(text_of(page, "data"))


def array_of(stored: dict[str, Any]) -> np.ndarray:
    raw = base64.b64decode(stored["data"])
    array = np.frombuffer(raw, np.dtype(stored["type"]).newbyteorder("<")).reshape(stored["shape"])
    if "step" not in stored:
        return array
    values = np.asarray(stored["low"]) + stored["step"] * array.astype(float)
    return np.where(array == 65535, np.nan, values)


class Elements(HTMLParser):
    """The tags of a page with their attributes, and the title."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self._open = ""
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag

    def handle_data(self, data: str) -> None:
        self.text.setdefault(self._open, data)

    @property
    def policy(self) -> str:
        found = [a for t, a in self.tags if t == "meta" and "http-equiv" in a]
        return found[0]["content"] or ""


# ---- What lies in the page -----------------------------------------------------------------------


def test_the_arrays_of_a_page_are_those_of_the_people(tmp_path: Path):
    times = np.cumsum(np.linspace(0.02, 0.06, FRAMES))
    first, second = (in_world(make_track(p, x=p, time_s=times)) for p in (0, 3))
    first.joints_camera[4:7] = np.nan
    first = in_world(first)
    write_page(tmp_path / "walk.html", [first, second])
    data = data_of(tmp_path / "walk.html")
    assert data["title"] == "walk"
    assert data["fps"] == FPS
    assert data["image_size"] == list(SIZE)
    assert np.array_equal(array_of(data["time_s"]), times)
    assert [person["person"] for person in data["people"]] == [0, 3]
    for person, track in zip(data["people"], (first, second), strict=True):
        assert track.points_camera is not None
        assert track.world is not None
        assert np.allclose(
            array_of(person["points_camera"]), track.points_camera, atol=1e-6, equal_nan=True
        )
        assert np.allclose(
            array_of(person["points_world"]), track.world.points, atol=1.01e-4, equal_nan=True
        )
        assert np.allclose(array_of(person["keypoints_2d"]), track.keypoints_2d, atol=1e-4)
        assert np.allclose(array_of(person["confidence"]) / 255, track.confidence, atol=0.002)
        assert np.array_equal(array_of(person["contact"]), track.world.contact)
        assert person["focal_px"] == FOCAL
    assert data["camera"] == {
        "rotation": LEVEL.tolist(), "position": [0, 0, 1], "known": True,
    }  # fmt: skip


def test_points_that_reach_too_far_for_steps_are_stored_whole(tmp_path: Path):
    track = make_track()
    far = track.joints_camera * 40
    write_page(tmp_path / "far.html", [replace(track, joints_camera=far)])
    stored = data_of(tmp_path / "far.html")["people"][0]["points_world"]
    assert stored["type"] == "float32"
    upright = array_of(stored)
    assert np.allclose(upright[..., 0], far[..., 0], rtol=1e-5)


def test_without_a_world_camera_axes_are_turned_upright_onto_the_lowest_foot(tmp_path: Path):
    write_page(tmp_path / "walk.html", [make_track()])
    data = data_of(tmp_path / "walk.html")
    x, y, z = np.moveaxis(array_of(data["people"][0]["points_world"]), -1, 0)
    joints = make_track().joints_camera
    assert np.allclose(x, joints[..., 0], atol=2e-4)
    assert np.allclose(y, joints[..., 2], atol=2e-4)
    assert np.allclose(np.diff(z), np.diff(-joints[..., 1]), atol=4e-4)
    assert 0.0 <= z[:, 3].min() < 0.15  # an ankle is a little above the floor
    assert not data["camera"]["known"]
    assert data["people"][0]["angles"] == {}


def test_angles_are_those_of_the_rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    swing = np.linspace(-20, 65, FRAMES)
    swing[3] = np.nan
    monkeypatch.setattr(page_data, "joint_angles", lambda rotations: {"left_knee_flexion": swing})
    write_page(tmp_path / "walk.html", [in_world(make_track())])
    angles = data_of(tmp_path / "walk.html")["people"][0]["angles"]
    assert np.allclose(
        array_of(angles["left_knee_flexion"])[:, 0], swing, atol=0.0051, equal_nan=True
    )


def test_a_path_that_is_not_known_is_said(tmp_path: Path):
    track = in_world(make_track(), has_path=False)
    write_page(tmp_path / "walk.html", [track])
    assert data_of(tmp_path / "walk.html")["has_path"] is False
    assert "on the spot" in dict(facts_of(track))["Path"]


def test_facts_are_in_plain_words():
    metadata = {
        "height_m": 1.71,
        "height_known": False,
        "focal_known": False,
        "frames_with_person": 20,
        "camera_tilt_deg": 3.25,
        "odd": {"window_s": 0.25, "list": [1, 2.5, None], "not": None},
        "warnings": ["shown apart"],
        "absent": None,
        "np": np.float32(0.5),
    }
    facts = dict(facts_of(make_track(metadata=metadata)))
    assert facts["Height"].startswith("1.71 m (assumed)")
    assert facts["Lens"].startswith("300 px focal length, 56° wide (guessed)")
    assert facts["Frames with the person"] == "20 of 24"
    assert facts["Camera tilt"] == "3.25°"
    assert facts["Odd window"] == "0.25 s"
    assert facts["Odd list"] == "1, 2.5, not known"
    assert "Odd not" not in facts
    assert facts["Np"] == "0.5"
    assert "Floor" in facts
    assert not {"Absent", "Warnings"} & set(facts)


def test_facts_tell_how_the_world_was_found():
    done = {
        "path": True, "camera": "still", "camera_height_m": 1.0, "pitch_deg": 0.0, "roll_deg": 0.0,
        "up_known": False, "camera_height_known": True, "standing_feet": 9, "levels": 2,
        "upright_s": 5.2, "smooth_hz": 6.0, "new": 2,
        "feet_held": True, "standing_share": 0.756, "joints_limited": False,
    }  # fmt: skip
    told = {"world": done, "camera": {"kind": "still", "looks": 9, "reason": "it stands still"}}
    facts = dict(facts_of(in_world(make_track(metadata=told))))
    assert facts["Camera height"] == "1.00 m above the floor (given)"
    assert facts["Camera tilt"] == "level (estimated)"
    assert facts["Floor found from"] == "9 standing feet, 5.2 s upright"
    assert facts["Levels of floor"] == "2"
    assert facts["Camera motion"] == "it stands still"
    assert "Camera looks" not in facts
    assert facts["Smoothing"] == "low-pass at 6 Hz, no delay"
    assert facts["Standing feet held"] == "yes"
    assert facts["A foot stands in"] == "76 % of frames"
    assert facts["World new"] == "2"
    done["smooth_hz"] = None
    assert dict(facts_of(in_world(make_track(metadata={"world": done}))))["Smoothing"] == "none"


@pytest.mark.parametrize(
    ("pitch_deg", "roll_deg", "told"),
    [
        (0, 3, "level, picture turned 3° clockwise"),
        (0, -3, "level, picture turned 3° anticlockwise"),
        (-60, 20, "60° down, picture turned 20° clockwise"),
        (40, -90, "40° up, picture turned 90° anticlockwise"),
        (5, 0, "5° up"),
    ],
)
def test_facts_tell_the_tilt_that_was_given(pitch_deg: float, roll_deg: float, told: str):
    from lithepose.world.ground import Ground, up_of_tilt

    rotation = Ground(up=up_of_tilt(pitch_deg, roll_deg), camera_height_m=1.0, cues={}).rotation
    metadata = {"world": {"up_known": True}}
    track = in_world(make_track(metadata=metadata), camera_rotation=rotation)
    assert dict(facts_of(track))["Camera tilt"] == f"{told} (given)"


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ({"focal_from": "given", "focal_known": True}, " (given)"),
        ({"focal_from": "file", "focal_known": True}, " (noted in the file)"),
        ({"focal_from": "file", "focal_known": False}, " (noted in the file)"),
        ({"focal_from": "guess", "focal_known": False}, " (guessed)"),
        ({"focal_known": True}, " (given)"),
        ({"focal_known": False}, " (guessed)"),
        ({}, ""),
    ],
)
def test_facts_tell_where_the_lens_is_from(metadata: dict[str, Any], told: str):
    facts = dict(facts_of(make_track(metadata=metadata)))
    assert facts["Lens"] == f"300 px focal length, 56° wide{told}"
    assert not [label for label in facts if label.startswith("Focal")]


def test_facts_of_another_kind_than_ours_are_shown_as_they_are():
    metadata = {
        "height_m": "tall", "height_known": [1], "focal_known": {}, "gaps": [], "world": HOSTILE,
        "camera": 3, "warnings": "one", "frames_with_person": None, "mean_confidence": {"a": 1},
        "focal_from": ["a", 1],
    }  # fmt: skip
    facts = dict(facts_of(in_world(make_track(metadata=metadata))))
    assert facts["Height"] == "tall m"
    assert facts["World"] == HOSTILE
    assert facts["Camera"] == "3"
    assert facts["Lens"] == "300 px focal length, 56° wide"
    assert facts["Focal from"] == "a, 1"
    mixed = {"up_known": "?", "standing_feet": "a", "levels": [], "upright_s": {}, "smooth_hz": "b"}
    assert facts_of(in_world(make_track(metadata={"world": mixed})))


def test_nobody_in_any_frame_and_a_single_frame_make_pages(tmp_path: Path):
    nothing = make_track(
        joints_camera=np.full((FRAMES, 17, 3), np.nan),
        keypoints_2d=np.full((FRAMES, 17, 2), np.nan),
        confidence=np.zeros((FRAMES, 17)),
        metadata={},
    )
    write_page(tmp_path / "nothing.html", [nothing])
    person = data_of(tmp_path / "nothing.html")["people"][0]
    assert np.isnan(array_of(person["points_world"])).all()
    write_page(tmp_path / "one.html", [make_track(frames=1)])
    assert array_of(data_of(tmp_path / "one.html")["time_s"]).shape == (1,)


def test_people_of_different_clips_and_no_people_are_refused(tmp_path: Path):
    page = tmp_path / "walk.html"
    with pytest.raises(ValueError, match="at least one person"):
        write_page(page, [])
    for other in (make_track(1, frames=5), make_track(1, image_size=(64, 48))):
        with pytest.raises(ValueError, match="person 2 is of another clip than person 1"):
            write_page(page, [make_track(), other])
    late = make_track(1, time_s=np.arange(FRAMES) / 10)
    with pytest.raises(ValueError, match="times"):
        write_page(page, [make_track(), late])
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_to_is_said(tmp_path: Path):
    (tmp_path / "walk.html").mkdir()
    with pytest.raises(IsADirectoryError, match="name a file"):
        write_page(tmp_path / "walk.html", [make_track()])


def add_frames(clip: PageVideo, times: Iterable[float]) -> None:
    for time_s in times:
        clip.add(np.zeros((SIZE[1], SIZE[0], 3), np.uint8), float(time_s))


# ---- Nothing from outside runs or is loaded ------------------------------------------------------


def test_text_from_outside_stays_text(tmp_path: Path):
    track = make_track(metadata={HOSTILE: HOSTILE, "warnings": [HOSTILE], "lifter": HOSTILE})
    plain, hostile = tmp_path / "plain.html", tmp_path / "hostile.html"
    write_page(plain, [make_track()])
    write_page(hostile, [track], title=HOSTILE)
    page = Elements(hostile)
    assert page.tags == Elements(plain).tags
    assert page.text["title"] == HOSTILE
    data = data_of(hostile)
    assert data["title"] == HOSTILE
    assert data["people"][0]["warnings"] == [HOSTILE]
    assert data["people"][0]["metadata"][HOSTILE] == HOSTILE
    assert not set("<>&\u2028\u2029") & set(text_of(hostile, "data"))


def test_a_file_name_that_is_not_unicode_is_shown_with_replacements(tmp_path: Path):
    write_page(tmp_path / "walk.html", [make_track()], title=os.fsdecode(b"caf\xe9"))
    assert data_of(tmp_path / "walk.html")["title"] == "caf?"


def test_metadata_that_json_has_not_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="JSON-ready"):
        write_page(tmp_path / "walk.html", [make_track(metadata={"a": object()})])


@pytest.mark.parametrize("video", [False, True])
def test_the_page_loads_nothing_and_runs_only_its_own_script(tmp_path: Path, video: bool):
    clip = make_clip(tmp_path / "clip.mp4") if video else None
    path = tmp_path / "walk.html"
    write_page(path, [make_track()], video=clip)
    page = Elements(path)
    loading = {"src", "href", "srcset", "poster", "data", "action", "formaction", "background"}
    assert not [attributes for _, attributes in page.tags if loading & set(attributes)]
    assert not [a for _, a in page.tags if any(name.startswith("on") for name in a)]
    assert not [a for _, a in page.tags if "style" in a]
    assert {tag for tag, _ in page.tags} & {"link", "iframe", "object", "embed", "base"} == set()
    style = (PAGE / "page.css").read_text("utf-8")
    assert "url(" not in style
    assert "@import" not in style
    rules = dict(rule.split(" ", 1) for rule in page.policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert "unsafe" not in page.policy
    assert "http" not in page.policy
    assert rules.get("media-src") == ("blob:" if video else None)
    assert "connect-src" not in rules  # so that default-src holds


def test_the_script_ends_no_element_and_keeps_the_licence_of_three():
    script = (PAGE / "page.js").read_text("ascii")
    assert "</script" not in script.lower()
    assert "<!--" not in script
    assert "@license" in script
    assert "SPDX-License-Identifier: MIT" in script
    assert "Permission is hereby granted" in (PAGE / "LICENSE-three.txt").read_text("utf-8")


# ---- The video -----------------------------------------------------------------------------------


def test_a_short_video_lies_in_the_page(tmp_path: Path):
    clip = make_clip(tmp_path / "clip.mp4")
    assert write_page(tmp_path / "p" / "walk.html", [make_track()], video=clip) == [
        tmp_path / "p" / "walk.html"
    ]
    assert [file.name for file in (tmp_path / "p").iterdir()] == ["walk.html"]
    data = data_of(tmp_path / "p" / "walk.html")
    assert data["title"] == "clip"
    assert data["video_url"] is None
    inside = tmp_path / "inside.mp4"
    inside.write_bytes(base64.b64decode(text_of(tmp_path / "p" / "walk.html", "video-data")))
    with open_video(inside) as reader:
        assert reader.size == SIZE
        frames = list(reader)
    assert [frame.time_s for frame in frames] == pytest.approx(np.arange(FRAMES) / FPS, abs=1e-4)
    assert [frame.image.mean() for frame in frames] == pytest.approx(
        [40 + 5 * index for index in range(FRAMES)], abs=3
    )


@pytest.mark.parametrize("stem", ["walk", "Übung <b>&'\"#1?%20 人"])
def test_a_video_beyond_the_limit_lies_beside_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stem: str
):
    from urllib.parse import unquote

    monkeypatch.setattr(html, "EMBED_S", 0.9)
    clip = make_clip(tmp_path / "clip.mp4")
    page = tmp_path / f"{stem}.html"
    beside = tmp_path / f"{stem}.page.mp4"
    assert write_page(page, [make_track()], video=clip) == [page, beside]
    assert {file.name for file in tmp_path.iterdir()} == {page.name, beside.name, "clip.mp4"}
    assert text_of(page, "video-data") == ""
    url = data_of(page)["video_url"]
    assert re.fullmatch(r"[\w.%~-]+", url, re.ASCII)
    assert unquote(url) == beside.name
    assert "media-src 'self' file:" in Elements(page).policy


def test_a_page_that_fails_leaves_the_earlier_video_and_none_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(html, "EMBED_S", 0.5)
    clip = make_clip(tmp_path / "clip.mp4")
    (tmp_path / "new.html").mkdir()
    with pytest.raises(IsADirectoryError):
        write_page(tmp_path / "new.html", [make_track()], video=clip)
    assert {file.name for file in tmp_path.iterdir()} == {"clip.mp4", "new.html"}
    page = tmp_path / "walk.html"
    _, beside = write_page(page, [make_track()], video=clip)
    earlier = page.read_bytes(), beside.read_bytes()

    def full(*_: object) -> None:
        raise OSError("the disk is full")

    other = make_clip(tmp_path / "other.mp4", frames=13)
    for broken in (Path.write_bytes, PageVideo.move_to):
        owner = Path if broken is Path.write_bytes else PageVideo
        with monkeypatch.context() as patch:
            patch.setattr(owner, broken.__name__, full)
            with pytest.raises(OSError, match="full"):
                write_page(page, [make_track(frames=13)], video=other)
        assert (page.read_bytes(), beside.read_bytes()) == earlier
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


def test_a_page_with_its_video_inside_removes_the_one_beside_an_earlier_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    clip = make_clip(tmp_path / "clip.mp4")
    page = tmp_path / "walk.html"
    with monkeypatch.context() as patch:
        patch.setattr(html, "EMBED_S", 0.5)
        _, beside = write_page(page, [make_track()], video=clip)
    assert beside.exists()
    # The very file that the new page is made from is nobody's leftover.
    assert write_page(page, [make_track()], video=beside) == [page]
    assert beside.exists()
    assert write_page(page, [make_track()], video=clip) == [page]
    assert {file.name for file in tmp_path.iterdir()} == {"clip.mp4", "walk.html"}


def test_a_large_picture_is_brought_to_540_lines(tmp_path: Path):
    clip = make_clip(tmp_path / "clip.mp4", frames=2, size=(2562, 1501))
    with open_video(clip) as reader:
        size = reader.size
    track = make_track(frames=2, image_size=size)
    write_page(tmp_path / "walk.html", [track], video=clip)
    inside = tmp_path / "inside.mp4"
    inside.write_bytes(base64.b64decode(text_of(tmp_path / "walk.html", "video-data")))
    with open_video(inside) as reader:
        assert reader.size[1] == 540
        assert reader.size[0] == pytest.approx(540 * size[0] / size[1], abs=1)


def test_frames_that_are_decoded_anyway_can_be_handed_over(tmp_path: Path):
    page = tmp_path / "new" / "walk.html"
    times = make_track().time_s
    with PageVideo(page, size=SIZE, fps=FPS) as clip:
        for index, time_s in enumerate(times):
            clip.add(np.full((SIZE[1], SIZE[0], 3), 5 * index, np.uint8), float(time_s))
        assert write_page(page, [make_track()], video=clip) == [page]
    assert [file.name for file in page.parent.iterdir()] == ["walk.html"]
    assert text_of(page, "video-data")


def test_a_video_that_no_page_takes_is_removed(tmp_path: Path):
    with PageVideo(tmp_path / "walk.html", size=SIZE, fps=FPS) as clip:
        add_frames(clip, [0.0])
        clip.close()
    assert list(tmp_path.iterdir()) == []

    def interrupted() -> None:
        with PageVideo(tmp_path / "walk.html", size=SIZE, fps=FPS) as clip:
            add_frames(clip, [0.0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_another_video_than_that_of_the_people_is_noticed(tmp_path: Path):
    small = make_clip(tmp_path / "small.mp4", size=(64, 48))
    with pytest.raises(ValueError, match="give the video that they were lifted from"):
        write_page(tmp_path / "walk.html", [make_track()], video=small)
    short = make_clip(tmp_path / "short.mp4", frames=5)
    page = tmp_path / "walk.html"
    with pytest.warns(UserWarning, match=r"short.mp4 has 5 frames, the people have 24") as warned:
        assert write_page(page, [make_track()], video=short) == [page]
    assert warned[0].filename == __file__
    with PageVideo(page, size=SIZE, fps=FPS) as clip:
        add_frames(clip, make_track().time_s[1:])
        with pytest.warns(UserWarning, match="clip has 23 frames, the people have 24") as warned:
            assert write_page(page, [make_track()], video=clip) == [page]
    assert warned[0].filename == __file__
    assert text_of(page, "video-data")
    with (
        PageVideo(page, size=(640, 480), fps=FPS) as clip,
        pytest.raises(ValueError, match=r"the clip has \(640, 480\)"),
    ):
        write_page(page, [make_track()], video=clip)
    with PageVideo(page, size=SIZE, fps=FPS) as clip, pytest.raises(ValueError, match="frame"):
        write_page(page, [make_track(frames=1)], video=clip)
    with pytest.raises(FileNotFoundError):
        write_page(tmp_path / "walk.html", [make_track()], video=tmp_path / "none.mp4")
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


def test_ranges_and_folders_of_images_are_videos_too(tmp_path: Path):
    clip = make_clip(tmp_path / "clip.mp4")
    track = make_track(frames=12)
    write_page(tmp_path / "walk.html", [track], video=clip, start_s=0.25, end_s=0.75)
    folder = tmp_path / "shots"
    folder.mkdir()
    for index in range(3):
        cv2.imwrite(str(folder / f"{index}.png"), np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
    write_page(tmp_path / "shots.html", [make_track(frames=3)], video=folder, fps=FPS)
    assert data_of(tmp_path / "shots.html")["title"] == "shots"


def test_a_page_is_small(tmp_path: Path):
    one, many = tmp_path / "one.html", tmp_path / "many.html"
    write_page(one, [in_world(make_track(frames=2))])
    write_page(many, [in_world(make_track(frames=1002))])
    assert one.stat().st_size < 700_000
    assert (many.stat().st_size - one.stat().st_size) / 1000 < 1600  # bytes per person and frame


# ---- The script ----------------------------------------------------------------------------------


@pytest.mark.parametrize("world", [False, True])
def test_the_files_that_the_page_saves_are_those_that_the_formats_write(
    tmp_path: Path, world: bool
):
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node")
    track = make_track(2, metadata={"name": HOSTILE, "height_m": 1.7})
    track.joints_camera[5] = track.keypoints_2d[5] = np.nan
    track.confidence[5] = 0
    if world:
        track = in_world(track)
    write_page(tmp_path / "walk.html", [track])
    (tmp_path / "data.json").write_text(text_of(tmp_path / "walk.html", "data"), "utf-8")
    program = """
        import { readFileSync, writeFileSync } from "node:fs";
        const { readData, jsonOf, csvOf } = await import(process.argv[1]);
        const data = readData(readFileSync("data.json", "utf8"));
        writeFileSync("saved.json", jsonOf(data, data.people[0]));
        writeFileSync("saved.csv", csvOf(data, data.people[0]));
    """
    subprocess.run(
        [node, "--input-type=module", "-e", program, (SOURCES / "data.js").as_uri()],
        cwd=tmp_path,
        check=True,
    )
    write_json(tmp_path / "written.json", track)
    saved, written = (
        json.loads((tmp_path / name).read_text("utf-8")) for name in ("saved.json", "written.json")
    )
    assert list(saved) == list(written)
    for name, value in written.items():
        places = 0.0021 if name.startswith("confidence") else 1.1e-4
        assert_alike(saved[name], value, places, name)
    again = read_json(tmp_path / "saved.json")
    assert (again.world is not None) == world
    write_csv(tmp_path / "written.csv", track)
    saved, written = (
        list(csv.DictReader((tmp_path / name).open(encoding="utf-8", newline="")))
        for name in ("saved.csv", "written.csv")
    )
    assert len(saved) == len(written) == FRAMES * (31 if world else 17)
    for ours, theirs in zip(saved, written, strict=True):
        assert list(ours) == list(theirs)
        for column, text in theirs.items():
            if column == "joint" or text == "":
                assert ours[column] == text
            else:
                assert float(ours[column]) == pytest.approx(float(text), abs=2.1e-3)


def assert_alike(ours: Any, theirs: Any, tolerance: float, name: str) -> None:
    """Nested lists of the same shape with None in the same places and almost the same numbers."""
    if isinstance(theirs, list):
        assert len(ours) == len(theirs), name
        for one, other in zip(ours, theirs, strict=True):
            assert_alike(one, other, tolerance, name)
    elif isinstance(theirs, float) and not isinstance(ours, bool):
        assert ours == pytest.approx(theirs, abs=tolerance), name
    else:
        assert ours == theirs, name


def test_the_script_is_what_its_sources_give(tmp_path: Path):
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and (SOURCES / "node_modules").is_dir():
        folder = SOURCES
    elif node and npm and os.environ.get("LITHEPOSE_BUILD_PAGE"):
        page = tmp_path / "page"
        shutil.copytree(SOURCES.parent, page)
        folder = page / "src"
        subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=folder, check=True)
    else:
        pytest.skip(f"needs node, and npm ci run in {SOURCES} or LITHEPOSE_BUILD_PAGE=1")
    done = subprocess.run(
        [node, "build.mjs", "--check"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_lock_file_pins_versions_and_names_no_registry():
    lock = (SOURCES / "package-lock.json").read_text("utf-8")
    assert "://" not in re.sub(r'"url": "[^"]*"', "", lock)
    assert "integrity" in lock
    package = json.loads((SOURCES / "package.json").read_text("utf-8"))
    assert all(re.fullmatch(r"[\d.]+", v) for v in package["devDependencies"].values())


# ---- In a browser --------------------------------------------------------------------------------


class Browser:
    """A browser without a window, driven through its debugging pipe: commands go to its file
    descriptor 3, answers and events come from 4, JSON that ends in a zero byte."""

    PATIENCE_S = 60

    def __init__(self, program: str, profile: Path) -> None:
        import fcntl  # not on Windows

        theirs_in, self._commands = os.pipe()
        self._answers, theirs_out = os.pipe()
        # Above 9, so that taking one place cannot overwrite the other end.
        high = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs_in, theirs_out)]
        command = [
            program, "--headless", "--no-sandbox", "--disable-gpu", "--use-gl=angle",
            "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-quic", "--hide-scrollbars", "--window-size=1400,850",
            f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank",
        ]  # fmt: skip
        become = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4);"
            "os.execv(sys.argv[3], sys.argv[3:])"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", become, *map(str, high), *command],
            pass_fds=high,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (theirs_in, theirs_out, *high):
            os.close(end)
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.complaints: list[str] = []
        target = self.call("Target.getTargets")["targetInfos"][0]["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self._note(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], self.PATIENCE_S)
            assert ready, "the browser does not answer"
            read = os.read(self._answers, 1 << 20)
            assert read, "the browser has ended"
            self._buffer += read
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        about = event.get("params", {})
        method = event.get("method")
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(about))
        elif method == "Runtime.consoleAPICalled" and about["type"] in ("error", "assert"):
            self.complaints.append(json.dumps(about["args"]))
        elif method == "Log.entryAdded" and about["entry"]["level"] == "error":
            self.complaints.append(about["entry"]["text"])

    def tell(self, script: str) -> Any:
        """What the body of an async function returns when it is run in the page."""
        expression = (
            "(async () => { const root = document.documentElement;"
            "const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));"
            "const until = async (done) => { for (let i = 0; i < 1500 && !done(); i++)"
            " await sleep(20); };"
            f"{script} }})()"
        )
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def open(self, page: Path, hash_: str = "") -> dict[str, str]:
        """Load a page, wait until it is ready, and give the data attributes of its root."""
        self.complaints.clear()
        # Another page first: going to the same one with another hash would not load it again.
        for url in ("about:blank", f"{page.as_uri()}#{hash_}"):
            self.call("Page.navigate", url=url)
        return self.tell(
            "const dataset = () => document.documentElement?.dataset ?? {};"
            "await until(() => dataset().ready === 'true'); return { ...dataset() };"
        )

    def size(self, width: int, height: int) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip

    def press(self, key: str, shift: bool = False) -> None:
        text = {"text": key} if len(key) == 1 else {}
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, modifiers=8 * shift,
                **(text if kind == "keyDown" else {}),
            )  # fmt: skip

    def shot(self) -> np.ndarray:
        """(H, W, 3) BGR of what the window shows."""
        self.tell("await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));")
        data = base64.b64decode(self.call("Page.captureScreenshot")["data"])
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        return image

    def box(self, element: str) -> tuple[slice, slice]:
        """Rows and columns of an element in a shot."""
        left, top, right, bottom = self.tell(
            f"const box = document.getElementById('{element}').getBoundingClientRect();"
            "return [box.left, box.top, box.right, box.bottom].map(Math.round);"
        )
        return slice(top, bottom), slice(left, right)

    def close(self) -> None:
        self._session = None
        with contextlib.suppress(AssertionError, OSError):
            self.call("Browser.close")
        self._process.wait(self.PATIENCE_S)
        os.close(self._commands)
        os.close(self._answers)


@pytest.fixture(scope="session")
def running_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.skip(f"needs a browser: one of {', '.join(names)}")
    if sys.platform == "win32":
        pytest.skip("the browser's debugging pipe is reached through POSIX file descriptors")
    browser = Browser(program, tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


@pytest.fixture
def browser(running_browser: Browser) -> Iterator[Browser]:
    running_browser.size(1400, 850)
    yield running_browser
    running_browser.call("Page.navigate", url="about:blank")  # a page that plays would go on


def sides_in(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the colours of the left and of the right are, lit or in shade; (H, W, 3) BGR."""
    blue, _, red = np.moveaxis(image.astype(int), -1, 0)
    return red - blue > 70, blue - red > 70


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1400, 850), (360, 740)])
def test_a_browser_shows_the_frame_that_is_asked_for(
    tmp_path: Path, browser: Browser, size: tuple[int, int]
):
    page = tmp_path / "walk.html"
    write_page(
        page, [in_world(make_track())], video=make_clip(tmp_path / "clip.mp4"), title=HOSTILE
    )
    browser.size(*size)
    root = browser.open(page, "frame=10")
    assert (root["ready"], root["frame"], root["errors"]) == ("true", "10", "0")
    image = browser.shot()
    stage = image[browser.box("stage")]
    assert len(np.unique(stage.reshape(-1, 3), axis=0)) > 100
    left, right = sides_in(stage)
    assert min(left.sum(), right.sum()) > 300
    rows, columns = browser.box("joints")
    middle = (columns.start + columns.stop) // 2
    above = image[rows.start + 10 : rows.start + 25, middle - 10 : middle + 10]
    assert above.mean() == pytest.approx(40 + 5 * 10, abs=5)  # the grey of frame 10
    assert browser.tell("return document.body.scrollWidth - window.innerWidth;") <= 0
    assert browser.tell("return window.hacked === undefined;")
    assert browser.complaints == []


@pytest.mark.slow
def test_the_figure_seen_from_the_camera_covers_the_person(tmp_path: Path, browser: Browser):
    track = in_world(make_track())
    write_page(tmp_path / "walk.html", [track])
    browser.open(tmp_path / "walk.html", "view=camera&frame=20")
    stage = browser.shot()[browser.box("stage")]
    height, width = stage.shape[:2]
    zoom = min(width / SIZE[0], height / SIZE[1])
    assert track.points_camera is not None
    points = track.points_camera[20]
    pixels = (FOCAL * points[:, :2] / points[:, 2:]) * zoom + np.array([width, height]) / 2
    kernel = np.ones((3, 3), np.uint8)
    for side, mask in zip(("left_", "right_"), sides_in(stage), strict=True):
        # A side's colour begins in the middle, and there is none of it on the head.
        limbs = [
            n in ("pelvis", "thorax") or (n.startswith(side) and n[-3:] not in ("eye", "ear"))
            for n in BODY.joints
        ]
        # Opened, to drop what is thinner than a limb: rings, edges of letters.
        rows, columns = np.nonzero(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, kernel))
        found = [columns.min(), rows.min(), columns.max(), rows.max()]
        expected = [*pixels[limbs].min(0), *pixels[limbs].max(0)]
        thick = 0.085 * FOCAL / 3.4 * zoom  # the thickest limb, metres to pixels
        assert np.abs(np.array(found) - expected).max() < thick


@pytest.mark.slow
def test_keys_and_controls_do_what_they_say(tmp_path: Path, browser: Browser):
    page = tmp_path / "walk.html"
    people = [in_world(make_track(p, x=p - 0.5)) for p in (0, 1)]
    write_page(page, people, video=make_clip(tmp_path / "clip.mp4"))
    browser.open(page)

    def frame() -> int:
        return int(browser.tell("return root.dataset.frame;"))

    def value(element: str, name: str) -> str:
        return browser.tell(f"return document.getElementById('{element}').{name};")

    for key, shift, expected in (
        ("ArrowRight", False, 1), ("ArrowRight", True, 11), ("ArrowLeft", False, 10),
        ("End", False, 23), ("ArrowRight", False, 23), ("Home", False, 0),
        ("ArrowLeft", True, 0),
    ):  # fmt: skip
        browser.press(key, shift)
        assert frame() == expected
    shown = browser.tell(
        "const slider = document.getElementById('time');"
        "slider.value = '7'; slider.dispatchEvent(new Event('input'));"
        "const video = document.getElementById('video');"
        # The seeks of the keys may still be under way.
        f"await until(() => Math.floor(video.currentTime * {FPS}) === 7 && !video.seeking);"
        "return video.currentTime;"
    )
    assert frame() == int(shown * FPS) == 7
    for key, button, expected in (
        ("c", "view-camera", "true"), ("c", "view-world", "true"), ("f", "follow", "false"),
        ("f", "follow", "true"), ("l", "loop", "false"),
    ):  # fmt: skip
        browser.press(key)
        assert value(button, "ariaPressed") == expected
    browser.press("2")
    assert value("facts-title", "textContent") == "Person 2"
    browser.press("0")
    assert browser.tell("return document.querySelector('#people [aria-pressed=true]').value")
    browser.press("-")
    assert value("speed", "value") == "0.75"
    for _ in range(4):
        browser.press("+")
    assert value("speed", "value") == "2"
    browser.press("?")
    assert value("help", "open")
    browser.press("ArrowRight")
    assert frame() == 7  # the keys rest while the help is open
    assert browser.complaints == []


@pytest.mark.slow
def test_people_are_numbered_in_their_order(tmp_path: Path, browser: Browser):
    page = tmp_path / "walk.html"
    # Identities have gaps where someone could not be lifted.
    write_page(page, [in_world(make_track(p, x=p / 3)) for p in (4, 0, 2)])

    def shown() -> list[str]:
        return browser.tell(
            "return [...document.querySelectorAll('#facts-title, #people [aria-pressed=true]')]"
            ".map((one) => one.textContent);"
        )

    browser.open(page)
    offered = browser.tell(
        "return [...document.querySelectorAll('#people button')].map((one) => one.textContent);"
    )
    assert offered == ["All", "Person 1", "Person 2", "Person 3"]
    labels = browser.tell(
        "return [...document.querySelectorAll('#labels span')].map((one) => one.textContent);"
    )
    assert labels == ["person 1", "person 2", "person 3"]
    browser.press("3")
    assert set(shown()) == {"Person 3"}
    browser.press("4")
    assert set(shown()) == {"Person 3"}
    assert browser.open(page, "person=2")["errors"] == "0"
    assert set(shown()) == {"Person 2"}
    assert browser.complaints == []


@pytest.mark.slow
@pytest.mark.parametrize("people", [1, 2])
@pytest.mark.parametrize("person", ["0", "x", "99", "-1", "1.5", "", "NaN"])
def test_a_link_to_someone_who_is_not_there_is_ignored(
    tmp_path: Path, browser: Browser, people: int, person: str
):
    page = tmp_path / "walk.html"
    write_page(page, [in_world(make_track(p, x=p - 0.5)) for p in range(people)])
    browser.size(420, 320)  # no picture is looked at, and small ones are quickly drawn
    root = browser.open(page, f"person={person}&frame=5")
    assert (root["ready"], root["errors"], root["frame"]) == ("true", "0", "5")
    # All of them are shown, as without a link.
    assert browser.tell(
        "return document.querySelector('#people [aria-pressed=true]').textContent;"
    ) == ("All" if people > 1 else "Person 1")
    browser.press("2")
    assert browser.complaints == []


@pytest.mark.slow
def test_the_space_bar_plays_after_a_press_on_another_button(tmp_path: Path, browser: Browser):
    write_page(tmp_path / "walk.html", [in_world(make_track())])
    browser.open(tmp_path / "walk.html")
    rows, columns = browser.box("view-camera")
    for kind in ("mousePressed", "mouseReleased"):
        browser.call(
            "Input.dispatchMouseEvent", type=kind, x=columns.start + 9, y=rows.start + 9,
            button="left", clickCount=1,
        )  # fmt: skip
    browser.press(" ")
    assert browser.tell("return document.getElementById('play').ariaLabel;") == "Pause"
    assert browser.tell("return root.dataset.view;") == "camera"


@pytest.mark.slow
def test_a_press_on_a_plot_goes_to_that_time(tmp_path: Path, browser: Browser):
    write_page(tmp_path / "walk.html", [in_world(make_track())])
    browser.open(tmp_path / "walk.html")
    x, y = browser.tell(
        "const plot = document.querySelector('.plot canvas'); plot.scrollIntoView();"
        "const box = plot.getBoundingClientRect(); return [box.right - 9, box.top + 40];"
    )
    browser.call(
        "Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, button="left", clickCount=1
    )
    assert browser.tell("return root.dataset.frame;") == "23"


@pytest.mark.slow
@pytest.mark.parametrize("video", [False, True])
def test_playing_moves_on_and_stops_at_the_end(tmp_path: Path, browser: Browser, video: bool):
    page = tmp_path / "walk.html"
    clip = make_clip(tmp_path / "clip.mp4") if video else None
    write_page(page, [make_track()], video=clip)
    browser.open(page)
    browser.tell(
        "window.seen = []; new MutationObserver(() => seen.push(Number(root.dataset.frame)))"
        ".observe(root, { attributeFilter: ['data-frame'] });"
    )
    browser.press("l")
    browser.press(" ")
    label = "document.getElementById('play').ariaLabel"
    assert browser.tell(f"return {label};") == "Pause"
    seen = browser.tell(f"await until(() => {label} === 'Play'); return seen;")
    assert browser.tell(f"return {label};") == "Play"
    assert seen == sorted(seen)
    assert seen[-1] == FRAMES - 1
    assert len(seen) > 2  # few on a busy machine
    browser.press("l")
    browser.press(" ")
    seen = browser.tell(
        "seen.length = 0; await until(() => seen.some((f, i) => i && f < seen[i - 1]));"
        f"document.getElementById('play').click(); return [seen, {label}];"
    )
    assert any(later < earlier for earlier, later in pairwise(seen[0]))  # it began again
    assert seen[1] == "Play"
    assert browser.complaints == []


@pytest.mark.slow
def test_a_video_beside_the_page_is_shown_and_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, browser: Browser
):
    monkeypatch.setattr(html, "EMBED_S", 0.5)
    page = tmp_path / "Übung #1 %.html"
    _, beside = write_page(page, [make_track()], video=make_clip(tmp_path / "clip.mp4"))
    root = browser.open(page, "frame=10")
    assert (root["ready"], root["frame"], root["errors"]) == ("true", "10", "0")
    assert browser.tell("return document.getElementById('video').videoWidth;") == SIZE[0]
    assert browser.complaints == []
    beside.unlink()
    assert browser.open(page, "frame=10")["frame"] == "10"
    said = browser.tell("return document.getElementById('no-video').textContent;")
    assert said == "The video Übung #1 %.page.mp4 must lie beside this page."


@pytest.mark.slow
def test_pages_of_one_frame_and_of_nobody_come_up_without_errors(tmp_path: Path, browser: Browser):
    one = tmp_path / "one.html"
    write_page(one, [in_world(make_track(frames=1))])
    nobody = tmp_path / "nobody.html"
    nothing = make_track(joints_camera=np.full((FRAMES, 17, 3), np.nan), metadata={"x": HOSTILE})
    write_page(nobody, [nothing])
    for page in (one, nobody):
        root = browser.open(page)
        assert (root["ready"], root["errors"]) == ("true", "0")
        browser.press(" ")
        browser.press("c")
        browser.press("f")
        assert browser.complaints == []


def test_a_clip_that_no_video_can_hold_leaves_the_page_without_its_pictures(tmp_path: Path):
    time_s = np.arange(FRAMES) / 25 + np.where(np.arange(FRAMES) < 2, 0, 30 * 3600)
    page = tmp_path / "page.html"
    with PageVideo(page, size=SIZE, fps=0.001) as clip:
        add_frames(clip, time_s.tolist())
        files = write_page(page, [make_track(time_s=time_s)], video=clip)
    assert [file.name for file in files] == ["page.html"]
    assert data_of(page)["video_url"] is None
