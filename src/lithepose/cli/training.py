"""What the commands that train have in common: where a run computes, and the extra it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that are fields of `lithepose.train.settings.RunSettings`.

    An option that is not given is None: `given_settings` leaves the default to `RunSettings`.
    """
    options = (
        click.option("--device", help="PyTorch device, such as cuda.  [default: a GPU if any]"),
        click.option(
            "--devices", type=click.IntRange(1), help="Devices of a machine.  [default: 1]"
        ),
        click.option("--nodes", type=click.IntRange(1), help="Machines.  [default: 1]"),
        click.option(
            "--precision",
            type=click.Choice(["auto", "32", "bf16"]),
            help="bf16: products in bfloat16; auto: bf16 where that is fast, but 32 for recipes "
            "of papers, which are trained so.  [default: auto]",
        ),
        click.option(
            "--workers",
            type=click.IntRange(0),
            help="Processes that draw batches ahead for each device.  [default: 1]",
        ),
        click.option(
            "--compile/--no-compile",
            "compiled",
            default=None,
            help="Compile the network: about a minute at the start, then faster.  [default: no]",
        ),
        click.option(
            "--chunk",
            type=click.IntRange(1),
            help="Examples that are drawn from one seed; a batch needs a chunk for every process. "
            "Another size draws other examples.  [default: 64; for recipes at most an eighth of "
            "the batch]",
        ),
        click.option("--save-every", type=click.IntRange(1), help="Steps between checkpoints."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def given_settings(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


@contextmanager
def needing_extras(what: str, extras: str = "train") -> Iterator[None]:
    """Turns the lack of PyTorch or Lightning Fabric into a ValueError that says what to install.

    Args:
        what: the work that needs them, as the message begins.
        extras: of the package, separated by commas.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "lightning_fabric"):
            raise
        raise ValueError(
            f'{what} needs {error.name}, which is not installed: pip install "lithepose[{extras}]"'
        ) from error
