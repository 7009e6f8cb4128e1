"""Imports between rooms go one way: docs/architecture.md holds the order and what each is for."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import lithepose

PACKAGE = Path(lithepose.__file__).parent
PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"
# A module or package of the top level may import those of the lines before it, and no other of its
# own line.
ORDER = """
arrays lazy tables version
rotations skeletons
bones anthropometry cameras
poses files
assets onnx
weights_file
metrics
video detect
track
keypoints
lifters
world
formats
view
pipeline
mocap
datasets
synthetic
deploy
train
bench
cli
"""
FLOOR = {room: floor for floor, line in enumerate(ORDER.split("\n")) for room in line.split()}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path, at_once: bool = False) -> Iterator[tuple[str, str]]:
    """(module, name) of every import of the package in a file, wherever it stands; `at_once`: of
    those that happen when the file is loaded."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if at_once else ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "lithepose":
            for alias in node.names:
                yield str(node.module), alias.name
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "lithepose":
                    yield alias.name, ""


def sources() -> list[Path]:
    return [
        path for path in sorted(PACKAGE.rglob("*.py")) if path.parent != PACKAGE or _is_room(path)
    ]


def _is_room(path: Path) -> bool:
    return path.stem not in ("__init__", "__main__")


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_every_room_has_its_place_in_the_order():
    assert {room_of(path) for path in sources()} == set(FLOOR)


def test_imports_point_upwards():
    wrong = []
    for path in sources():
        here = room_of(path)
        for module, name in imported(path):
            parts = module.split(".")
            there = parts[1] if len(parts) > 1 else name
            if there not in FLOOR:
                wrong.append(f"{module_name(path)} imports {name} of the package's front")
            elif there != here and FLOOR[there] >= FLOOR[here]:
                wrong.append(f"{module_name(path)} imports {module}.{name}")
    assert not wrong, "\n".join(wrong)


def test_no_name_that_is_private_to_a_file_is_used_by_another():
    wrong = [
        f"{module_name(path)} imports {module}.{name}"
        for path in sources()
        for module, name in imported(path)
        if re.fullmatch(r"_[a-z]\w*", name)
        or any(part.startswith("_") for part in module.split("."))
    ]
    assert not wrong, "\n".join(wrong)


def test_no_circle_inside_a_room():
    """What a room's front loads on first use is no circle: its table must load without networks."""
    graph: dict[str, set[str]] = {}
    for path in sources():
        own = module_name(path)
        graph[own] = set()
        for module, name in imported(path, at_once=True):
            for target in (f"{module}.{name}", module):
                file = PACKAGE.parent.joinpath(*target.split("."))
                if file.with_suffix(".py").is_file() or (file / "__init__.py").is_file():
                    graph[own].add(target)
                    break
    done: set[str] = set()
    on_the_way: list[str] = []

    def visit(module: str) -> None:
        assert module not in on_the_way, " -> ".join([*on_the_way, module])
        if module in done:
            return
        on_the_way.append(module)
        for target in sorted(graph.get(module, ())):
            visit(target)
        on_the_way.pop()
        done.add(module)

    for module in graph:
        visit(module)


def test_every_file_fits_in_one_reading():
    long = {
        module_name(path): lines
        for path in sources()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 800
    }
    assert not long


def test_the_page_names_every_room():
    text = PAGE.read_text(encoding="utf-8")
    missing = [room for room in FLOOR if f"`{room}`" not in text and f"`{room}/`" not in text]
    assert not missing
