"""LitheBench: every lifter under one rule and one budget."""

from typing import TYPE_CHECKING

from lithepose.lazy import attach

if TYPE_CHECKING:
    from lithepose.bench.networks import SIZES, entries
    from lithepose.bench.report import QUESTIONS, write_report
    from lithepose.bench.rule import measure, views
    from lithepose.bench.run import train_all

__all__ = ["QUESTIONS", "SIZES", "entries", "measure", "train_all", "views", "write_report"]

__getattr__, __dir__ = attach(
    __name__,
    {
        "networks": "SIZES entries",
        "report": "QUESTIONS write_report",
        "rule": "measure views",
        "run": "train_all",
    },
)
