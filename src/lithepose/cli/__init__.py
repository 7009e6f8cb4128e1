"""The command `lithepose`: one thin file per subcommand, loaded only when it is called."""

from __future__ import annotations

import importlib

import click

# Name of the command -> where it is. Help on one command does not load the others.
COMMANDS = {
    "lift": "lithepose.cli.lift:lift",
    "convert": "lithepose.cli.convert:convert",
    "demo": "lithepose.cli.demo:demo",
    "models": "lithepose.cli.models:models",
    "profile": "lithepose.cli.profile:profile",
    "train": "lithepose.cli.train:train",
    "data": "lithepose.cli.data:data",
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name].split(":")
        return getattr(importlib.import_module(module), name)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lithepose", message="%(prog)s %(version)s")
def main() -> None:
    """Ordinary video to 3D human motion on small machines."""
