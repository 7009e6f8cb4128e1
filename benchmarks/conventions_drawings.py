"""Draw the pictures of docs/conventions.md.

    python benchmarks/conventions_drawings.py docs/pictures      (needs matplotlib)

The figure is the rig fitted to a drawn body, in the pose in which no node is turned; nothing is
placed by hand but the labels.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from lithepose.anthropometry import ANKLE_HEIGHT
from lithepose.arrays import Floats
from lithepose.cameras import Camera
from lithepose.skeletons import SKELETONS
from lithepose.synthetic.appearance import random_appearance
from lithepose.synthetic.bodies import Body, random_body, rest_joints
from lithepose.synthetic.figures import build_figure
from lithepose.synthetic.movements import motion
from lithepose.world.joint_limits import JOINT_LIMITS, Hinge
from lithepose.world.rig import (
    NODE_PARENTS,
    NODES,
    fit_rig,
    pose_nodes,
    rig_points,
)

POINTS = SKELETONS["lithepose31"]
# The colours of lithepose.view.strokes, darker for white paper.
LEFT, RIGHT, CENTRE = "#d9791a", "#2f7fc4", "#555b66"
SKIN, AXIS = "#e9ebef", "#8a3ab9"
WORLD, CAMERA, IMAGE = "#2c8a4b", "#b3362c", "#7d5a13"


def colour_of(name: str) -> str:
    lower = name.lower()
    return LEFT if lower.startswith("left") else RIGHT if lower.startswith("right") else CENTRE


def fitted(body: Body) -> tuple[Floats, Floats]:
    """The rig of a body: offsets (N, 3) and markers (31, 3) in metres."""
    points = np.full((1, len(POINTS), 3), np.nan)
    points[0, :17] = rest_joints(body)
    return fit_rig(points)


def draw_body() -> Body:
    """Someone of mean build whose bones add up to the stature."""

    def off(body: Body) -> float:
        offsets, _ = fitted(body)
        up = [NODES.index(name) for name in ("Spine1", "Chest", "Head", "HeadEnd")]
        down = [NODES.index(name) for name in ("LeftLeg", "LeftFoot")]
        tall = body.ankle_height + offsets[up, 2].sum() - offsets[down, 2].sum()
        return abs(tall - body.stature) + 0.3 * abs(body.stature - 1.71) + 0.1 * abs(body.girth - 1)

    return min((random_body(np.random.default_rng(seed)) for seed in range(200)), key=off)


class RestPose:
    """The rig of a body in its rest pose, feet on the floor: z up, facing -y."""

    def __init__(self, body: Body):
        self.offsets, self.markers = fitted(body)
        still = np.zeros((1, len(NODES), 4))
        still[..., 0] = 1
        self.ankle_height = ANKLE_HEIGHT * body.stature
        root = np.zeros((1, 3))
        leg = [NODES.index("LeftLeg"), NODES.index("LeftFoot")]
        root[0, 2] = self.ankle_height - self.offsets[leg, 2].sum()
        self.nodes = pose_nodes(self.offsets, root, still)[0][0]
        self.points = rig_points(self.offsets, self.markers, root, still)[0]
        figure = build_figure(body, random_appearance(np.random.default_rng(2)))
        self.quads = figure.quads
        self.skin = figure.pose(self.points[:17])[0]

    def paint(self, axes: Any, across: int, up: int, below_m: float = np.inf) -> None:
        """The body up to a height as a pale shape with its bones, seen along the third axis."""
        from matplotlib.collections import PolyCollection  # pyright: ignore[reportMissingImports]

        low = (self.skin[self.quads, 2] < below_m).all(-1)
        shape = list(self.skin[self.quads[low]][..., [across, up]])
        axes.add_collection(PolyCollection(shape, facecolor=SKIN, edgecolor=SKIN, linewidth=0.6))
        # The left side last: seen from there it lies before the right.
        for node in sorted(range(len(NODES)), key=lambda each: NODES[each].startswith("Left")):
            parent = NODE_PARENTS[node]
            ends = self.nodes[[parent, node]]
            if parent >= 0 and (ends[:, 2] < below_m).all():
                colour = colour_of(NODES[node])
                axes.plot(*ends[:, [across, up]].T, color=colour, linewidth=2.2)


def label(axes: Any, text: str, at: Floats, to: tuple[float, float], colour: str, **more: Any):
    """Text beside a point, with a thin line to it where they are apart."""
    axes.annotate(
        text,
        xy=tuple(at),
        xytext=to,
        color=colour,
        arrowprops={
            "arrowstyle": "-",
            "color": colour,
            "linewidth": 0.6,
            "shrinkA": 0,
            "shrinkB": 2,
        },
        va="center",
        **{"fontsize": 9, "ha": "center", **more},
    )


def dot(axes: Any, number: int, at: Floats, size: float = 210) -> None:
    """A point of `lithepose31` with its number."""
    axes.scatter(*at, s=size, color=colour_of(POINTS.joints[number]), zorder=5, edgecolor="white")
    axes.text(*at, str(number), color="white", fontsize=7.5, ha="center", va="center_baseline",
              zorder=6, fontweight="bold")  # fmt: skip


def plain(axes: Any) -> None:
    axes.set_aspect("equal")
    axes.axis("off")


# Where names stand, metres from their nodes.
_NAMES = {
    "Hips": (0.34, 0.05, "Hips, Spine"),
    "Spine1": (0.24, -0.05, "Spine1"),
    "Chest": (0.20, -0.16, "Chest, Neck,\nLeftShoulder, RightShoulder"),
    "Head": (0.22, 0.07, "Head"),
    "HeadEnd": (0.22, 0.05, "HeadEnd"),
    "LeftArm": (0.10, 0.13, "LeftArm"),
    "LeftForeArm": (0.06, 0.13, "LeftForeArm"),
    "LeftHand": (0.06, 0.13, "LeftHand"),
    "LeftHandEnd": (0.04, -0.12, "LeftHandEnd"),
    "LeftUpLeg": (0.24, -0.06, "LeftUpLeg"),
    "LeftLeg": (0.30, 0.06, "LeftLeg"),
    "LeftFoot": (0.25, 0.06, "LeftFoot"),
    "LeftToeBase": (0.25, 0.0, "LeftToeBase, LeftToeEnd"),
}
_INK = "#22252b"


def node_marks(axes: Any, places: Floats) -> None:
    axes.scatter(*places.T, s=34, marker="s", facecolor="white", edgecolor=_INK, zorder=4)


def draw_rest_pose(rest: RestPose, path: Path) -> None:
    """The 31 points with their numbers, and the nodes with their names."""
    import matplotlib.pyplot as plt  # pyright: ignore[reportMissingImports]

    figure = plt.figure(figsize=(11, 8.2), dpi=100)
    front = figure.add_axes((0.0, 0.0, 0.72, 1.0))
    rest.paint(front, 0, 2)
    places = rest.nodes[:, [0, 2]]
    node_marks(front, places)
    for node, (x, z, text) in _NAMES.items():
        at = places[NODES.index(node)]
        to = (at[0] + x, at[1] + z)
        label(front, text, at, to, _INK, ha="left" if x > 0.15 else "center")
    for name, limit in JOINT_LIMITS.items():
        if isinstance(limit, Hinge):
            at, towards = places[NODES.index(name)], np.array(limit.hinge)[[0, 2]]
            style = {"arrowstyle": "-|>", "color": AXIS, "linewidth": 1.8, "shrinkA": 9}
            front.annotate("", xy=tuple(at + 0.15 * towards), xytext=tuple(at), arrowprops=style)
    for number in range(17):
        if POINTS.joints[number] != "nose":  # before the neck: beside it, larger
            dot(front, number, rest.points[number, [0, 2]], 170)
    front.set_xlim(-0.95, 1.0)
    front.set_ylim(-0.07, 1.82)
    plain(front)
    words = (
        ("point of lithepose31, its number", CENTRE),
        ("node of the rig (right ones likewise)", _INK),
        ("axis of a hinge", AXIS),
        ("the person's right", RIGHT),
        ("the person's left", LEFT),
    )
    for row, (text, colour) in enumerate(words):
        y = 0.27 - 0.06 * row
        front.text(-0.86, y, text, color=colour, fontsize=10, va="center")
        if row == 0:
            front.scatter(-0.9, y, s=110, color=CENTRE, edgecolor="white")
        elif row == 1:
            node_marks(front, np.array([[-0.9, y]]))
        elif row == 2:
            style = {"arrowstyle": "-|>", "color": AXIS, "linewidth": 1.8}
            front.annotate("", xy=(-0.875, y), xytext=(-0.935, y), arrowprops=style)
        else:
            front.scatter(-0.9, y, s=110, color=colour, edgecolor="white")

    parts = (
        ("head, from in front", (0, 2), np.inf, (9, 10, 17, 18, 19, 20), (0.71, 0.67), 0.16),
        ("left hand, from above", (0, 1), np.inf, (13, 27, 29), (0.71, 0.36), 0.13),
        ("left foot, from above", (0, 1), 0.14, (6, 21, 23, 25), (0.71, 0.02), 0.17),
    )
    for title, (across, up), below_m, points, corner, reach in parts:
        axes = figure.add_axes((*corner, 0.28, 0.28))
        rest.paint(axes, across, up, below_m)
        node_marks(axes, rest.nodes[rest.nodes[:, 2] < below_m][:, [across, up]])
        shown = rest.points[list(points)][:, [across, up]]
        for number, at in zip(points, shown, strict=True):
            dot(axes, number, at)
        middle = (shown.min(0) + shown.max(0)) / 2
        axes.set_xlim(middle[0] - reach, middle[0] + reach)
        axes.set_ylim(middle[1] - 0.8 * reach, middle[1] + 0.8 * reach)
        axes.set_title(title, fontsize=10, color=_INK, pad=4)
        plain(axes)
    save(figure, path)


def draw_axes(body: Body, path: Path) -> None:
    """Camera, image and world axes in one sketch."""
    import matplotlib.pyplot as plt  # pyright: ignore[reportMissingImports]

    walk = motion("walk", 2.0, 25.0, body, np.random.default_rng(3))
    joints = walk[18]
    turn = np.array([[-1.0, 0, 0], [0, -1, 0], [0, 0, 1]])  # towards the camera
    joints = (joints - joints[0] * (1, 1, 0)) @ turn.T + (0.45, 2.6, 0)
    height, size = 1.5, (1280, 720)
    camera = Camera.looking_from((0, 0, height), (0, 3.0, 0.95), focal_px=900.0, image_size=size)
    position = np.array([0.0, 0.0, height])

    figure = plt.figure(figsize=(10, 6), dpi=100)
    axes: Any = figure.add_axes((-0.276, -0.147, 1.54, 1.56), projection="3d")
    axes.set_proj_type("persp", focal_length=0.6)
    for at in np.arange(-1.0, 2.01, 0.5):
        axes.plot([at, at], [-0.5, 3.5], [0, 0], color="#d5d9e0", linewidth=0.8, zorder=0)
    for at in np.arange(-0.5, 3.51, 0.5):
        axes.plot([-1, 2], [at, at], [0, 0], color="#d5d9e0", linewidth=0.8, zorder=0)

    def arrow(start: Floats, towards: Floats, colour: str, text: str, share: float = 1.16) -> None:
        axes.quiver(*start, *towards, color=colour, linewidth=2.2, arrow_length_ratio=0.16)
        axes.text(*(start + share * towards), text, color=colour, fontsize=11, ha="center",
                  va="center", fontweight="bold")  # fmt: skip

    for column, name in enumerate(("x", "y", "z")):
        arrow(np.zeros(3), 0.6 * np.eye(3)[column], WORLD, name)
        arrow(position, 0.5 * camera.rotation[column], CAMERA, name)
    axes.plot([0, 0], [0, 0], [0.75, height], color=_INK, linewidth=1, linestyle=":")

    # The picture one metre before the camera, as large as the camera sees it there.
    def on_picture(pixels: Floats) -> Floats:
        rays = (np.asarray(pixels, float) - camera.centre_px) / camera.focal_px
        local = np.concatenate([rays, np.ones((*rays.shape[:-1], 1))], axis=-1)
        return camera.camera_to_world(local)

    corners = on_picture(np.array([(0, 0), (size[0], 0), size, (0, size[1]), (0, 0)]))
    axes.plot(*corners.T, color=IMAGE, linewidth=1.4)
    for corner in corners[:4]:
        axes.plot(*np.stack([position, corner]).T, color=IMAGE, linewidth=0.5, alpha=0.6)
    for end, name in (((420, 0), "u"), ((0, 420), "v")):
        start, stop = on_picture(np.array([(0, 0), end]))
        arrow(start, stop - start, IMAGE, "")
        beside = on_picture(
            np.array([(0.5 * end[0] - 0.12 * end[1], 0.5 * end[1] - 0.12 * end[0])])
        )
        axes.text(*beside[0], name, color=IMAGE, fontsize=11, ha="center", va="center",
                  fontweight="bold")  # fmt: skip
    pixels = on_picture(camera.project(joints))
    skeleton = SKELETONS["h36m17"]
    for joint, parent in enumerate(skeleton.parents):
        if parent >= 0:
            colour = colour_of(skeleton.joints[joint])
            axes.plot(*joints[[parent, joint]].T, color=colour, linewidth=3, solid_capstyle="round")
            axes.plot(*pixels[[parent, joint]].T, color=colour, linewidth=1.2)
    head = skeleton.index("head_top")
    axes.plot(*np.stack([position, joints[head]]).T, color=_INK, linewidth=0.8, linestyle="--")
    axes.scatter(*joints[head], color=_INK, s=14)
    axes.scatter(*pixels[head], color=_INK, s=14)
    axes.scatter(0, 0, 0, color=WORLD, s=30)
    axes.scatter(*position, color=CAMERA, s=30)
    for at, text, colour, side in (
        ((0.06, -0.1, 0.0), "origin: on the floor\nunder the camera", WORLD, "right"),
        ((-0.05, -0.1, height + 0.16), "camera", CAMERA, "right"),
        ((1.95, 3.4, 0.0), "floor, z = 0", "#7b828f", "right"),
    ):
        axes.text(*at, text, color=colour, fontsize=10, ha=side, va="top")
    axes.set_xlim(-1.0, 2.0)
    axes.set_ylim(-0.5, 3.5)
    axes.set_zlim(0.0, 2.0)
    axes.set_box_aspect((3.0, 4.0, 2.0))
    axes.view_init(elev=18, azim=-42)
    axes.set_axis_off()
    save(figure, path)


def draw_scale(rest: RestPose, body: Body, path: Path) -> None:
    """Stature, and the heights of ankle and pelvis over the floor."""
    import matplotlib.pyplot as plt  # pyright: ignore[reportMissingImports]

    figure = plt.figure(figsize=(7.4, 7.6), dpi=100)
    axes: Any = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    # Seen from the person's left: they face the left edge.
    rest.paint(axes, 1, 2)
    joints = {name: rest.points[POINTS.index(name), [1, 2]] for name in POINTS.joints}
    heights = (
        ("stature", joints["head_top"], 1.05),
        ("pelvis", joints["pelvis"], 0.63),
        ("ankle", joints["left_ankle"], 0.21),
    )
    for name, at, x in heights:
        axes.plot([at[0], x], [at[1], at[1]], color=CENTRE, linewidth=0.9, linestyle=":")
        style = {"arrowstyle": "<|-|>", "color": _INK, "linewidth": 1.3, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", xy=(x, at[1]), xytext=(x, 0), arrowprops=style)
        share = at[1] / body.stature
        text = f"{name} {at[1]:.3f} m" + (
            "" if name == "stature" else f"\n{share:.4f} of the stature"
        )
        axes.text(x + 0.03, max(0.5 * at[1], 0.07), text, fontsize=10, color=_INK, va="center")
    for name in ("pelvis", "left_knee", "left_ankle", "thorax", "head_top", "left_heel"):
        dot(axes, POINTS.index(name), joints[name], 150)
    for name in ("left_big_toe", "nose"):
        dot(axes, POINTS.index(name), joints[name], 150)
    axes.plot([-0.45, 1.35], [0, 0], color=WORLD, linewidth=1.6)
    axes.text(-0.43, -0.05, "floor, z = 0", color=WORLD, fontsize=11, va="center")
    axes.set_xlim(-0.47, 1.37)
    axes.set_ylim(-0.1, 1.85)
    plain(axes)
    save(figure, path)


def save(figure: Any, path: Path) -> None:
    import matplotlib.pyplot as plt  # pyright: ignore[reportMissingImports]

    figure.savefig(path, facecolor="white")
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the pictures of docs/conventions.md.")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    body = draw_body()
    rest = RestPose(body)
    draw_rest_pose(rest, arguments.folder / "conventions_rest_pose.png")
    draw_axes(body, arguments.folder / "conventions_axes.png")
    draw_scale(rest, body, arguments.folder / "conventions_scale.png")


if __name__ == "__main__":
    main()
