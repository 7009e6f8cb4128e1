"""What loads on first use: names of a package, values by their path, PyTorch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any


def attach(
    package: str, where: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package; `where`: its module -> names in it, spaced."""
    modules = {name: module for module, names in where.items() for name in names.split()}

    def load(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{modules[name]}"), name)

    return load, lambda: [*vars(sys.modules[package]), *modules]


def located(path: str) -> Any:
    """The value at a path, "module:name"."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


@contextmanager
def needing_torch(what: str, kind: type[Exception] = ImportError) -> Iterator[None]:
    """Where PyTorch is missing, an error of that kind that says which extra has it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise kind(
            f'{what} needs PyTorch, which is not installed: pip install "lithepose[train]"'
        ) from error
