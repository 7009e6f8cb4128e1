"""The command `lithepose`: one thin file per subcommand, loaded only when it is called."""

from __future__ import annotations

from typing import Any

import click

from lithepose.lazy import located
from lithepose.version import __version__

# Name of the command -> where it is. Help on one command does not load the others.
COMMANDS = {
    "lift": "lithepose.cli.lift:lift",
    "convert": "lithepose.cli.convert:convert",
    "demo": "lithepose.cli.demo:demo",
    "models": "lithepose.cli.models:models",
    "profile": "lithepose.cli.profile:profile",
    "train": "lithepose.cli.train:train",
    "eval": "lithepose.cli.eval:evaluate",
    "pretrain": "lithepose.cli.pretrain:pretrain",
    "bench": "lithepose.cli.bench:bench",
    "data": "lithepose.cli.data:data",
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called.

    Args:
        table: name of the command -> where it is, "module:name".
    """

    def __init__(self, *args: Any, table: dict[str, str], **options: Any) -> None:
        super().__init__(*args, **options)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        return located(self.table[cmd_name]) if cmd_name in self.table else None


@click.group(
    cls=LazyGroup, table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def main() -> None:
    """Ordinary video to 3D human motion on small machines."""
