"""The grammar of the command line: global options, then a command whose words are not parsed.

See docs/tinc-program.md, "Command line".

``pytinc`` starts at `main`. click parses the options; the two classes here keep tinc's rules: command names
in any case, long options shortened to a unique prefix, everything after the command untouched, exit status 1.
Only click may be imported here: a command imports what it needs when it runs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, cast

import click

from pytinc.cli.commands import COMMANDS, find, unknown_command
from pytinc.cli.run import guarded, run_command
from pytinc.cli.session import Session
from pytinc.standard_streams import repair_standard_streams


class TincCommand(click.Command):
    """A command that takes its words as they are: ``-5`` and ``--help`` are words, not options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take all words, without click's own parser."""
        ctx.args = list(args)
        return ctx.args

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command with the words."""
        return run_command(ctx.obj, cast(str, self.name), ctx.args)


class TincGroup(click.Group):
    """Global options before a command of the table `COMMANDS`; without a command, the shell."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse all global options, then act on ``--version`` and ``--help``."""
        rest = super().parse_args(ctx, expand_long_options(self.params, args))
        given = ctx.params
        program = cast(str, ctx.info_name)
        ctx.obj = Session(
            program,
            batch=given["batch"],
            force=given["force"],
            confbase=given["config"],
            netname=given["net"],
            pidfile=given["pidfile"],
        )
        ctx.call_on_close(ctx.obj.disconnect)
        if given["version"]:
            from pytinc.cli.about import version_text

            print(version_text(), end="")
            ctx.exit(0)
        if given["help"]:
            from pytinc.cli.about import help_text

            print(help_text(program), end="")
            ctx.exit(0)
        return rest

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of this name, in any case."""
        if find(cmd_name) is None:
            return None
        return TincCommand(cmd_name, add_help_option=False)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or complain in tinc's words."""
        command = self.get_command(ctx, args[0])
        if command is None:
            raise click.UsageError(unknown_command(args[0]), ctx)
        return args[0], command, args[1:]


def expand_long_options(params: Sequence[click.Parameter], args: Sequence[str]) -> list[str]:
    """Replace each global long option that is shortened to a unique prefix by its full name.

    Stops at the first word that is not an option. Unknown options are left for click to complain about.
    """
    takes_value = {name: not cast(click.Option, param).is_flag for param in params for name in param.opts}
    words = list(args)
    index = 0
    while index < len(words):
        word = words[index]
        if word in ("--", "-") or not word.startswith("-"):
            break
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            name = _full_name(name, takes_value)
            words[index] = name + equals + value
            value_follows = takes_value.get(name, False) and not equals
        else:
            value_follows = _cluster_wants_value(word, takes_value)
        index += 2 if value_follows else 1
    return words


def _full_name(name: str, known: dict[str, bool]) -> str:
    matches = [full for full in known if full.startswith(name)]
    return matches[0] if len(matches) == 1 and name not in known else name


def _cluster_wants_value(word: str, known: dict[str, bool]) -> bool:
    """Return whether the value of a cluster such as ``-bc`` is the next word."""
    for position, letter in enumerate(word[1:], start=2):
        if known.get(f"-{letter}"):
            return position == len(word)
    return False


@click.group(cls=TincGroup, invoke_without_command=True, add_help_option=False)
@click.option("-b", "--batch", is_flag=True)
@click.option("-c", "--config", metavar="DIR")
@click.option("-n", "--net", metavar="NETNAME")
@click.option("--pidfile", metavar="FILENAME")
@click.option("--force", is_flag=True)
@click.option("-h", "--help", is_flag=True)
@click.option("--version", is_flag=True)
@click.pass_context
def grammar(ctx: click.Context, /, **options: object) -> int:
    """The command line of tinc. Without a command it reads commands from standard input."""
    if ctx.invoked_subcommand is not None:
        return 0
    from pytinc.cli.shell import run_shell

    return run_shell(ctx.obj)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the given command line, by default that of the program, and return the exit status."""
    repair_standard_streams()
    words = list(sys.argv[1:] if arguments is None else arguments)
    program = sys.argv[0] if sys.argv[0] not in ("", "-c") else "pytinc"
    # Files and arguments may hold any bytes, and are written back as they were read, newlines included.
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="surrogateescape", newline="\n")

    def run() -> int:
        return int(grammar.main(words, prog_name=program, standalone_mode=False) or 0)

    return guarded(program, run)
