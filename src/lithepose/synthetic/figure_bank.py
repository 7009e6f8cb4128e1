"""Many synthetic people in arrays of one shape, ready to be drawn by the hundred thousand.

What a person looks like is left open: a bank says which quads are skin, hair or shirt, and
`lithepose.synthetic.paint` colours them anew in each picture. Beside the bodies of `random_body`
there are stouter ones and ones with larger heads, as children have, skirts, rucksacks and looser
clothes. Axes and units are those of the rest pose: x to the person's right, y forward, z up,
metres, mid-hips at the origin.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lithepose.arrays import Floats
from lithepose.synthetic.appearance import Appearance, random_appearance
from lithepose.synthetic.bodies import Body, random_body, rest_joints
from lithepose.synthetic.figures import Mesh, build_figure
from lithepose.synthetic.posing import SIZES
from lithepose.synthetic.surface import Part, ellipsoid, limb

CELL = 0.020  # metres, size of a quad of the body; head, hands and feet are finer


@dataclass(frozen=True, kw_only=True)
class MeshBank:
    """N meshes of at most V vertices and F quads; shorter ones end in quads without area.

    Attributes:
        vertices: (N, V, 3) metres, float16: rounded to half a millimetre.
        normals: (N, V, 3) int8, unit normals times 127.
        weights: (N, V, B) uint8, 255 times the share of each bone of `BONES`; rows sum to 255.
        quads: (N, F, 4) int16 vertex indices, counter-clockwise from outside.
        materials: (N, F) uint8 index into `MATERIALS`.
        bones: (N, F) uint8, the bone each quad follows most.
    """

    vertices: Floats
    normals: NDArray[np.int8]
    weights: NDArray[np.uint8]
    quads: NDArray[np.int16]
    materials: NDArray[np.uint8]
    bones: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.vertices)


@dataclass(frozen=True, kw_only=True)
class FigureBank(MeshBank):
    """N people.

    Attributes:
        joints: (N, 17, 3) metres, joints of the rest pose.
        points: (N, 11, 3) metres, `POINTS` in the rest pose.
        sizes: (N, 5) metres, `SIZES` of the bodies.
        seed: of the people drawn: banks of different seeds share nobody.
    """

    joints: Floats
    points: Floats
    sizes: Floats
    seed: int


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
    return FigureBank(**_stacked(built), seed=seed)


def bank_meshes(meshes: Sequence[Mesh]) -> MeshBank:
    """A bank of meshes that are there already."""
    return MeshBank(**_stacked([_mesh_arrays(mesh) for mesh in meshes]))


def _stacked(built: list[dict[str, Any]]) -> dict[str, Any]:
    padded = {}
    for name in built[0]:
        arrays = [mesh[name] for mesh in built]
        longest = max(len(array) for array in arrays)
        ends = [[(0, longest - len(array))] + [(0, 0)] * (array.ndim - 1) for array in arrays]
        padded[name] = np.stack([np.pad(a, end) for a, end in zip(arrays, ends, strict=True)])
    return padded


# --- one figure ----------------------------------------------------------------------------------


def draw_person(random: np.random.Generator) -> tuple[Body, Appearance]:
    body = random_body(random)
    girth = body.girth * float(random.uniform(0.92, 1.3) if random.random() < 0.35 else 1.0)
    larger = float(random.uniform(1.0, 1.3) if random.random() < 0.25 else 1.0)
    belly = body.belly * float(random.uniform(1.0, 1.25) if girth > 1.15 else 1.0)
    head = {name: larger * getattr(body, name) for name in ("head", "nose_forward", "nose_up")}
    body = replace(body, girth=girth, belly=belly, **head)
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


def _extra_parts(body: Body, joints: Floats, random: np.random.Generator) -> list[Part]:
    """A skirt, a coat's skirts or a rucksack for some."""
    parts = []
    g, s = body.scale * body.girth, body.scale
    dress = random.random()
    if dress < 0.16:
        material = "shirt" if dress < 0.08 else "trousers"
        reach = float(random.uniform(0.45, 1.0))
        flare = float(random.uniform(0.0, 0.07))
        radii, span = ((0, 0.098 * g), (1, 0.098 * g + flare)), (0.05, reach)
        for bone, hip, knee in (("r_thigh", *joints[1:3]), ("l_thigh", *joints[4:6])):
            parts.append(limb(bone, material, hip, knee, radii, span=span, blend=0.08))
    if random.random() < 0.12:
        high = float(random.uniform(0.17, 0.24)) * s
        middle = (0, -0.17 * g, joints[8, 2] - 0.12 * s - 0.3 * high)
        radii = (0.15 * s, float(random.uniform(0.08, 0.13)) * s, high)
        parts.append(ellipsoid("chest", "second", middle, radii, 0.01))
    return parts


def _build(job: tuple[int, int, float]) -> dict[str, Any]:
    """Arrays of the person (seed, number), unpadded, as the fields of `FigureBank`."""
    seed, number, cell = job
    random = np.random.default_rng((seed, number))
    body, look = draw_person(random)
    more = _extra_parts(body, rest_joints(body), random)
    figure = build_figure(body, look, cell=cell, detail=cell / CELL, more=more)
    sizes = np.array([getattr(body, name) for name in SIZES])
    own = {"joints": figure.joints, "points": figure.points, "sizes": sizes}
    return _mesh_arrays(figure) | {name: array.astype(np.float32) for name, array in own.items()}


def _mesh_arrays(mesh: Mesh) -> dict[str, Any]:
    """The arrays of a mesh in few bytes, as the fields of `MeshBank`."""
    if len(mesh.vertices) > np.iinfo(np.int16).max:
        raise ValueError(
            f"a mesh of {len(mesh.vertices)} vertices is too fine: choose a larger cell"
        )
    # Shares as bytes whose rows sum to 255: what is left goes to the largest share.
    weights = np.floor(255 * mesh.weights).astype(np.int64)
    weights[np.arange(len(weights)), mesh.weights.argmax(-1)] += 255 - weights.sum(-1)
    return {
        "vertices": mesh.vertices.astype(np.float16),
        "normals": np.round(127 * mesh.normals).astype(np.int8),
        "weights": weights.astype(np.uint8),
        "quads": mesh.quads.astype(np.int16),
        "materials": mesh.materials.astype(np.uint8),
        "bones": mesh.bones.astype(np.uint8),
    }
