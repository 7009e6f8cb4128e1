"""Training: any task on any device, and networks by the recipes of their papers.

The names below load on first use: tables of recipes can be read where PyTorch is not installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lithepose.lazy import attach

if TYPE_CHECKING:
    from lithepose.train.checkpoints import kept_weights
    from lithepose.train.engine import Examples, Progress, Task, run
    from lithepose.train.evaluation import EvaluationSettings
    from lithepose.train.recipes import RECIPES, recipe_named
    from lithepose.train.runs import evaluate_run, read_trained, train_recipe
    from lithepose.train.settings import Optimisation, RunSettings

_WHERE = {
    "checkpoints": "kept_weights",
    "engine": "Examples Progress Task run",
    "evaluation": "EvaluationSettings",
    "recipes": "RECIPES recipe_named",
    "runs": "evaluate_run read_trained train_recipe",
    "settings": "Optimisation RunSettings",
}
__getattr__, __dir__ = attach(__name__, _WHERE)

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
