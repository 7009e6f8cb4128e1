"""What recipes of all families have in common."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeVar

from lithepose.metrics.protocols import METRICS
from lithepose.train.settings import Optimisation, kinds_of, read_changes

# What is said of a recipe and does not decide its result: not written down, or a better wording
# would make it another recipe.
SAID = ("expected", "source", "notes")
# Fields that --set leaves alone.
_FIXED = ("name", "network", "overrides", "optimisation", *SAID)


@dataclass(frozen=True, kw_only=True)
class Expected:
    """A published result.

    Attributes:
        metric: of a lifter, a key in `lithepose.metrics.protocols.METRICS`; of a pose network, the
            score as it is printed.
        value: millimetres or percent.
        source: where it is printed, and what it was measured on if the recipe does not say.
        papers: whether it is the paper's own, or its authors' code or another paper's table.
    """

    metric: str
    value: float
    source: str
    papers: bool = True


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained and tested; the families add what decides theirs.

    Attributes:
        name: key in `RECIPES`.
        network: key in the table of lifters or of pose networks.
        overrides: fields of its config that differ from the table's.
        optimisation: how it is trained.
        expected: published results.
        source: where the recipe is from.
        notes: what else a reader must know, such as what is inferred.
    """

    name: str
    network: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    optimisation: Optimisation
    expected: tuple[Expected, ...] = ()
    source: str
    notes: tuple[str, ...] = ()

    # What files say of every recipe of a family, beside its fields. "task" tells the families
    # apart; it is where its class once was, and stays for the files' sake.
    written: ClassVar[Mapping[str, Any]] = {}

    @property
    def seen(self) -> tuple[str, str]:
        """The data and what the network is given of them, in words."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its network is given")

    def described(self) -> dict[str, Any]:
        """What decides the result, in values that JSON can hold. How it is optimised is not in it:
        the engine writes that beside it."""
        values = dataclasses.asdict(self)
        for name in ("optimisation", *SAID):
            del values[name]
        return json.loads(json.dumps({**values, **self.written}))

    def promises(self) -> list[str]:
        """The published results, one text each."""
        found = []
        for one in self.expected:
            metric = METRICS.get(one.metric)
            label, unit = (metric.label, metric.unit) if metric else (one.metric, "%")
            whose = "the paper's, " if one.papers else ""
            found.append(f"{label} {one.value:g} {unit} ({whose}{one.source})")
        return found


AnyRecipe = TypeVar("AnyRecipe", bound=Recipe)


def changed(recipe: AnyRecipe, changes: Iterable[str]) -> AnyRecipe:
    """A recipe with some of its values replaced.

    Args:
        changes: texts `field=value`, see `lithepose.train.settings.read_changes`; such as
            `clips.<field>` for how the shipped lifter's windows are drawn. Fields of the network
            are looked at where it is built.

    Raises:
        ValueError: no such field, or a value that it cannot have; the message names what is known.
    """
    own = {name: kind for name, kind in kinds_of(type(recipe)).items() if name not in _FIXED}
    found = read_changes(changes, own, kinds_of(Optimisation))
    values = {
        name: replace(getattr(recipe, name), **value)
        if dataclasses.is_dataclass(own[name])
        else value
        for name, value in found.own.items()
    }
    return replace(
        recipe,
        **values,
        overrides={**recipe.overrides, **found.network},
        optimisation=replace(recipe.optimisation, **found.optimisation),
    )
