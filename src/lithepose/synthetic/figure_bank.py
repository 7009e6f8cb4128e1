"""Many synthetic people in one file: skins, skin weights and materials, ready to be drawn by the
hundred thousand.

A figure of `lithepose.synthetic.bodies` takes a third of a second to build. Here some hundreds are
built once, with a mesh half as fine, and kept as arrays of one shape. What a person looks like is
left open: the bank says which quads are skin, hair or shirt, and `lithepose.synthetic.render`
paints them anew in each picture. Axes and units are those of the rest pose: x to the person's
right, y forward, z up, metres, mid-hips at the origin.

Beside the bodies of `random_body` there are stouter ones and ones with larger heads, as children
have, skirts, rucksacks and looser clothes.
"""

from __future__ import annotations

import logging
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from lithepose.anthropometry import SEGMENTS, STANDARD_HEIGHT_M
from lithepose.arrays import Floats
from lithepose.files import atomic_write
from lithepose.synthetic import bodies as people
from lithepose.synthetic.bodies import BONES, Appearance, Body, random_appearance, random_body

logger = logging.getLogger(__name__)

MATERIALS = (
    "skin", "hair", "lips", "eye_white", "iris", "brow", "shoes", "shirt", "trousers", "second",
)  # fmt: skip
_MATERIAL = {name: index for index, name in enumerate(MATERIALS)}

# Points of the skin that no joint is, and the bones that carry them; the tips bound a person's box.
POINTS = (
    "left_eye", "right_eye", "left_ear", "right_ear", "upper_neck", "left_fingertip",
    "right_fingertip", "left_toe", "right_toe", "left_heel", "right_heel",
)  # fmt: skip
POINT_BONES = (
    "head", "head", "head", "head", "head", "l_hand",
    "r_hand", "l_foot", "r_foot", "l_foot", "r_foot",
)  # fmt: skip
SIZES = ("stature", "neck", "head", "nose_forward", "nose_up")

CELL = 0.020  # metres, size of a quad of the body; head, hands and feet are finer
_VERSION = "1"


@dataclass(frozen=True, kw_only=True)
class FigureBank:
    """N figures of at most V vertices and F quads; shorter ones end in quads without area.

    Attributes:
        joints: (N, 17, 3) metres, joints of the rest pose.
        points: (N, 11, 3) metres, `POINTS` in the rest pose.
        sizes: (N, 5) metres, `SIZES` of the bodies.
        vertices: (N, V, 3) metres, float16: rounded to half a millimetre.
        normals: (N, V, 3) int8, unit normals times 127.
        weights: (N, V, B) uint8, 255 times the share of each bone of `BONES`; rows sum to 255.
        quads: (N, F, 4) int16 vertex indices, counter-clockwise from outside.
        materials: (N, F) uint8 index into `MATERIALS`.
        bones: (N, F) uint8, the bone each quad follows most.
        seed: of the people drawn: banks of different seeds share nobody.
    """

    joints: Floats
    points: Floats
    sizes: Floats
    vertices: Floats
    normals: NDArray[np.int8]
    weights: NDArray[np.uint8]
    quads: NDArray[np.int16]
    materials: NDArray[np.uint8]
    bones: NDArray[np.uint8]
    seed: int

    def __len__(self) -> int:
        return len(self.joints)


_ARRAYS = tuple(field.name for field in fields(FigureBank) if field.name != "seed")


def build_bank(count: int, seed: int, *, cell: float = CELL, processes: int = 1) -> FigureBank:
    """Build people; about a fifth of a second of processor time each.

    Args:
        count: how many.
        seed: person i is drawn from (seed, i), so a larger bank begins with a smaller one's people.
        cell: size of a quad of the body in metres.
        processes: how many build at once; the result does not depend on it.
    Raises:
        ValueError: fewer than one figure.
    """
    if count < 1:
        raise ValueError(f"a bank needs at least one figure, got {count}")
    jobs = [(seed, number, cell) for number in range(count)]
    if processes > 1:
        with ProcessPoolExecutor(processes) as pool:
            built = list(pool.map(_build, jobs, chunksize=max(count // (8 * processes), 1)))
    else:
        built = [_build(job) for job in jobs]
    padded = {}
    for name in built[0]:
        arrays = [figure[name] for figure in built]
        longest = max(len(array) for array in arrays)
        padded[name] = np.stack(
            [
                np.pad(array, [(0, longest - len(array))] + [(0, 0)] * (array.ndim - 1))
                for array in arrays
            ]
        )
    return FigureBank(**padded, seed=seed)


def save_bank(path: str | Path, bank: FigureBank) -> None:
    """Write a bank as one safetensors file."""
    arrays = {name: np.ascontiguousarray(getattr(bank, name)) for name in _ARRAYS}
    header = {"format": "lithepose figure bank", "version": _VERSION, "seed": str(bank.seed)}
    with atomic_write(path) as temporary:
        temporary.write_bytes(save(arrays, metadata=header))


def load_bank(path: str | Path) -> FigureBank:
    """Read a bank that `save_bank` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no figure bank, or one of another version.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"no figure bank at {path}: make one with save_bank(path, build_bank(count, seed))"
        )
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            if header.get("format") != "lithepose figure bank":
                raise ValueError(f"{path} is no figure bank: give a file that save_bank wrote")
            if header.get("version") != _VERSION:
                raise ValueError(
                    f"{path} is a figure bank of version {header.get('version')}, this program "
                    f"reads version {_VERSION}: build it anew"
                )
            missing = sorted(set(_ARRAYS) - set(file.keys()))
            if missing:
                raise ValueError(f"{path} has no {', '.join(missing)}: build the bank anew")
            arrays = {name: file.get_tensor(name) for name in _ARRAYS}
    except SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file, or a damaged one: {error}") from error
    return FigureBank(**arrays, seed=int(header["seed"]))


def figure_bank(path: str | Path, count: int, seed: int, *, processes: int = 1) -> FigureBank:
    """Read a bank, or build and keep it where there is none yet.

    Raises:
        ValueError: the bank at `path` has another seed or fewer figures.
    """
    path = Path(path)
    if not path.exists():
        logger.info("building %d figures for %s", count, path)
        save_bank(path, build_bank(count, seed, processes=processes))
    bank = load_bank(path)
    if bank.seed != seed or len(bank) < count:
        raise ValueError(
            f"{path} holds {len(bank)} figures of seed {bank.seed}, wanted {count} of seed {seed}: "
            "give another path, or delete the file to have it built anew"
        )
    return bank


# --- one figure ----------------------------------------------------------------------------------


def _draw_person(random: np.random.Generator) -> tuple[Body, Appearance]:
    body = random_body(random)
    girth = body.girth * float(random.uniform(0.92, 1.3) if random.random() < 0.35 else 1.0)
    larger = float(random.uniform(1.0, 1.3) if random.random() < 0.25 else 1.0)
    body = replace(
        body,
        girth=girth,
        belly=body.belly * float(random.uniform(1.0, 1.25) if girth > 1.15 else 1.0),
        head=body.head * larger,
        nose_forward=body.nose_forward * larger,
        nose_up=body.nose_up * larger,
    )
    look = replace(
        random_appearance(random),
        sleeve=float(random.choice([0.1, 0.3, 0.6, 0.6, 0.75, 1.0, 1.5, 1.95, 1.95, 1.95])),
        leg=float(random.choice([0.3, 0.6, 0.8, 1.0, 1.5, 1.97, 1.97, 1.97, 1.97])),
        loose=float(random.uniform(0.003, 0.014) if random.random() < 0.7 else
                    random.uniform(0.014, 0.034)),
        shirt_hem=float(random.uniform(-0.08, 0.12)),
        beard=bool(body.bust == 0 and random.random() < 0.25),
    )  # fmt: skip
    return body, look


def _extra_parts(body: Body, joints: Floats, random: np.random.Generator):
    """A skirt, a coat's skirts or a rucksack for some."""
    parts = []
    g, s = body.scale * body.girth, body.scale
    dress = random.random()
    if dress < 0.16:
        material = "shirt" if dress < 0.08 else "trousers"
        reach = float(random.uniform(0.45, 1.0))
        flare = float(random.uniform(0.0, 0.07))
        for name, hip in (("r", 1), ("l", 4)):
            radii = ((0, 0.098 * g), (1, 0.098 * g + flare))
            parts.append(
                people._limb(
                    f"{name}_thigh", material, joints[hip], joints[hip + 1], radii,
                    span=(0.05, reach), blend=0.08,
                )
            )  # fmt: skip
    if random.random() < 0.12:
        high = float(random.uniform(0.17, 0.24)) * s
        middle = (0, -0.17 * g, joints[8, 2] - 0.12 * s - 0.3 * high)
        radii = (0.15 * s, float(random.uniform(0.08, 0.13)) * s, high)
        parts.append(people._ellipsoid("chest", "shirt2", middle, radii, 0.01))
    return parts


def _build(job: tuple[int, int, float]) -> dict[str, Any]:
    """Arrays of the person (seed, number), unpadded, as the fields of `FigureBank`."""
    seed, number, cell = job
    random = np.random.default_rng((seed, number))
    body, look = _draw_person(random)
    joints = people.rest_joints(body)
    skull = joints[8] + (0, 0, body.neck)
    pieces = []

    def add(parts, axes, shift, turn, floor=None) -> None:
        pieces.append((*people._surface(parts, axes, floor), parts, shift, turn))

    parts = people._body_parts(body, look, joints) + _extra_parts(body, joints, random)
    low = np.min([part.low for part in parts], axis=0) - 2.5 * cell
    high = np.max([part.high for part in parts], axis=0) + 2.5 * cell
    add(parts, tuple(people._axis(low[d], high[d], cell) for d in range(3)), np.zeros(3), np.eye(3))

    h = body.head / (SEGMENTS["head"] * STANDARD_HEIGHT_M)
    finer = cell / CELL  # all meshes get coarser together
    fine, coarse = 0.0075 * h * finer, 0.016 * h * finer
    axis = people._axis
    x = np.concatenate([axis(-0.13 * h, -0.055 * h, coarse), axis(-0.05 * h, 0.048 * h, fine),
                        axis(0.055 * h, 0.13 * h, coarse)])  # fmt: skip
    y = np.concatenate([axis(-0.19 * h, 0.04 * h, coarse), axis(0.052 * h, 0.19 * h, fine)])
    z = np.concatenate([axis(-body.neck - 0.08, -0.045 * h, coarse),
                        axis(-0.033 * h, 0.1 * h, fine),
                        axis(0.109 * h, 0.23 * h, coarse)])  # fmt: skip
    add(people._head_parts(body, look), (x, y, z), skull, np.eye(3))

    for side, name, shoulder in ((1, "r", 14), (-1, "l", 11)):
        step = 0.0100 * body.scale * finer
        angle = -side * people._ARM_ANGLE
        turn = np.array(
            [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
        )
        axes = (axis(-0.06, 0.06, step), axis(-0.07, 0.08, step), axis(-0.22, 0.07, step))
        add(people._hand_parts(body, side), axes, joints[shoulder + 2], turn)
        step, s = 0.017 * finer, body.scale
        axes = (axis(-0.07, 0.07, step), axis(-0.10 * s, 0.23 * s, step), axis(-0.13, 0.13, step))
        ankle = joints[3 if side > 0 else 6]
        add(people._foot_parts(body, name), axes, ankle, np.eye(3), -body.ankle_height)

    vertices, normals, quads, weights, materials, bones = [], [], [], [], [], []
    count = 0
    for points, faces, parts, shift, turn in pieces:
        placed = points @ turn.T + shift
        centres = points[faces].mean(1)
        material = _materials(parts, centres)
        if parts[0].bone == "neck":
            _mark_face(centres / h, material)
        weight = people._weights(parts, points, body)
        vertices.append(placed)
        normals.append(people._vertex_normals(placed, faces))
        quads.append(faces + count)
        weights.append(weight)
        materials.append(material)
        bones.append(weight[faces].mean(1).argmax(-1))
        count += len(points)
    if count > np.iinfo(np.int16).max:
        raise ValueError(f"a mesh of {count} vertices is too fine: choose a larger cell")
    return {
        "joints": joints.astype(np.float32),
        "points": _rest_points(body, joints, h).astype(np.float32),
        "sizes": np.array([getattr(body, name) for name in SIZES], np.float32),
        "vertices": np.concatenate(vertices).astype(np.float16),
        "normals": np.round(127 * np.concatenate(normals)).astype(np.int8),
        "weights": _rounded(np.concatenate(weights)),
        "quads": np.concatenate(quads).astype(np.int16),
        "materials": np.concatenate(materials).astype(np.uint8),
        "bones": np.concatenate(bones).astype(np.uint8),
    }


def _rounded(weights: Floats) -> NDArray[np.uint8]:
    """Shares (V, B) as bytes whose rows sum to 255: what is left goes to the largest share."""
    whole = np.floor(255 * weights).astype(np.int64)
    rows = np.arange(len(whole))
    whole[rows, weights.argmax(-1)] += 255 - whole.sum(-1)
    return whole.astype(np.uint8)


def _materials(parts, points: Floats) -> NDArray[np.int64]:
    names = people._materials(parts, points)
    return np.array([_MATERIAL["second" if name == "shirt2" else name] for name in names])


def _mark_face(points: Floats, material: NDArray[np.int64]) -> None:
    """Eyes and brows among the quads of a head of the mean size, in place.

    They are a little larger than life: at the size people have in pictures, an eye is a dark spot
    of one quad.
    """
    x, y, z = points.T
    front = (y > 0.045) & (material == _MATERIAL["skin"])
    dx, dz = np.abs(x) - 0.032, z - 0.066
    material[front & ((dx / 0.018) ** 2 + (dz / 0.0085) ** 2 < 1)] = _MATERIAL["eye_white"]
    material[front & (dx**2 + dz**2 < 0.008**2)] = _MATERIAL["iris"]
    material[front & (np.abs(dx) < 0.024) & (np.abs(dz - 0.023 + 12 * dx**2) < 0.005)] = _MATERIAL[
        "brow"
    ]


def _rest_points(body: Body, joints: Floats, h: float) -> Floats:
    """(11, 3) `POINTS`: eyes and ears where the head's solids have them, skull, tips."""
    skull = joints[8] + (0, 0, body.neck)
    s = body.scale
    places = {"upper_neck": skull}
    for side, name, ankle, shoulder in ((1, "right", 3, 14), (-1, "left", 6, 11)):
        places[f"{name}_eye"] = skull + h * np.array([side * 0.032, 0.074, 0.066])
        places[f"{name}_ear"] = skull + h * np.array([side * 0.081, -0.010, 0.048])
        arm = joints[shoulder + 2] - joints[shoulder + 1]
        arm = arm / np.linalg.norm(arm)
        places[f"{name}_fingertip"] = joints[shoulder + 2] + 0.175 * s * arm
        places[f"{name}_toe"] = joints[ankle] + s * np.array([side * 0.008, 0.180, -0.065])
        places[f"{name}_heel"] = joints[ankle] + s * np.array([0.0, -0.070, -0.065])
    return np.stack([places[name] for name in POINTS])


POINT_BONE_INDEX = np.array([BONES.index(bone) for bone in POINT_BONES])
