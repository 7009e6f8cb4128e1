"""Training: any task on any device, and networks by the recipes of their papers.

The names below load on first use: tables of recipes can be read where PyTorch is not installed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lithepose.train.checkpoints import kept_weights
    from lithepose.train.engine import Examples, Progress, Task, run
    from lithepose.train.evaluation import EvaluationSettings
    from lithepose.train.recipes import RECIPES, recipe_named
    from lithepose.train.runs import evaluate_run, read_trained, train_recipe
    from lithepose.train.settings import Optimisation, RunSettings

_WHERE = {
    "EvaluationSettings": "evaluation",
    "Examples": "engine",
    "Optimisation": "settings",
    "Progress": "engine",
    "RECIPES": "recipes",
    "RunSettings": "settings",
    "Task": "engine",
    "evaluate_run": "runs",
    "kept_weights": "checkpoints",
    "read_trained": "runs",
    "recipe_named": "recipes",
    "run": "engine",
    "train_recipe": "runs",
}
__all__ = [
    "RECIPES",
    "EvaluationSettings",
    "Examples",
    "Optimisation",
    "Progress",
    "RunSettings",
    "Task",
    "evaluate_run",
    "kept_weights",
    "read_trained",
    "recipe_named",
    "run",
    "train_recipe",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'lithepose.train' has no attribute {name!r}")
    return getattr(importlib.import_module(f"lithepose.train.{_WHERE[name]}"), name)
