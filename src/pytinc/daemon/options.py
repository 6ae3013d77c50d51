"""The command line of pytincd: words in, `Options` out. It loads click, and nothing of the daemon.

See docs/tinc-program.md, "Options of the daemon".

click parses the options. This module adds what tinc does and click does not: long options shortened to a
unique prefix, ``-d`` that counts or sets, and of ``--logfile`` and ``-s`` the last one wins.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

_NO_VALUE: Final = "\0"
"""Marks an option given without its optional value; no program argument can contain it."""
_LEADING_INTEGER: Final = re.compile(r"\s*([+-]?[0-9]{1,9})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command line."""

    confbase: str | None = None
    netname: str | None = None
    foreground: bool = False
    debug_level: int = 0
    mlock: bool = False
    log_to_file: bool = False
    logfile: str | None = None
    """None with `log_to_file`: the default log file."""
    syslog: bool = False
    pidfile: str | None = None
    settings: tuple[str, ...] = ()
    """``[HOST.]VAR=VALUE`` of each -o."""
    chroot: bool = False
    user: str | None = None
    bypass_security: bool = False
    replace: bool = False
    show_version: bool = False
    show_help: bool = False


class _Command(click.Command):
    """Parses the whole line and returns `Options`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the options, and keep their order."""
        expanded = _expand_long_options(self.params, args)
        _, _, order = self.make_parser(ctx).parse_args(list(expanded))
        ctx.meta["order"] = [param.name for param in order]
        return super().parse_args(ctx, expanded)


def _expand_long_options(params: Sequence[click.Parameter], words: Sequence[str]) -> list[str]:
    """Replace long options that are shortened to a unique prefix by their full names."""
    known = [name for param in params for name in param.opts if name.startswith("--")]
    expanded: list[str] = []
    for index, word in enumerate(words):
        if word == "--":
            return [*expanded, *words[index:]]
        name, equals, value = word.partition("=")
        if name.startswith("--") and name not in known:
            matches = [full for full in known if full.startswith(name)]
            name = matches[0] if len(matches) == 1 else name
            word = name + equals + value
        expanded.append(word)
    return expanded


@click.command(cls=_Command, add_help_option=False)
@click.option("-c", "--config", "confbase", metavar="DIR", help="Read configuration from DIR.")
@click.option("-n", "--net", "netname", metavar="NET", help="Connect to net NET.")
@click.option("-D", "--no-detach", "foreground", is_flag=True, help="Don't fork and detach.")
@click.option(
    "-d",
    "--debug",
    metavar="[LEVEL]",
    multiple=True,
    is_flag=False,
    flag_value=_NO_VALUE,
    help="Increase debug level or set it to LEVEL.",
)
@click.option("-L", "--mlock", is_flag=True, help="Lock pytincd into main memory.")
@click.option(
    "--logfile",
    metavar="[FILE]",
    is_flag=False,
    flag_value=_NO_VALUE,
    help="Write log entries to a file.",
)
@click.option("-s", "--syslog", is_flag=True, help="Use syslog instead of stderr with --no-detach.")
@click.option("--pidfile", metavar="FILE", help="Write PID and control socket cookie to FILE.")
@click.option(
    "-o",
    "--option",
    "settings",
    metavar="[HOST.]KEY=VALUE",
    multiple=True,
    help="Set a configuration variable.",
)
@click.option("-R", "--chroot", is_flag=True, help="chroot to the configuration directory at startup.")
@click.option("-U", "--user", metavar="USER", help="setuid to USER at startup.")
@click.option(
    "--bypass-security",
    is_flag=True,
    help="Disable meta protocol security, for debugging.",
)
@click.option("--replace", is_flag=True, help="Stop the daemon that runs, when ready to take its place.")
@click.option("--help", "show_help", is_flag=True, help="Display this help and exit.")
@click.option("--version", "show_version", is_flag=True, help="Output version information and exit.")
@click.argument("words", nargs=-1)
@click.pass_context
def _grammar(ctx: click.Context, /, words: tuple[str, ...], **given: Any) -> Options:
    if words:
        raise click.UsageError(f"unrecognized argument '{words[0]}'", ctx)
    given["debug_level"] = debug_level(given.pop("debug"))
    logfile, syslog = given.pop("logfile"), given.pop("syslog")
    order = [name for name in ctx.meta["order"] if name in ("logfile", "syslog")]
    to_file = bool(order) and order[-1] == "logfile"
    given["log_to_file"] = to_file
    given["logfile"] = logfile if to_file and logfile != _NO_VALUE else None
    given["syslog"] = syslog and not to_file
    return Options(**given)


def debug_level(values: Sequence[str]) -> int:
    """Return the level from the ``-d`` options in order: each without a value adds one."""
    level = 0
    for value in values:
        if value == _NO_VALUE:
            level += 1
        else:
            match = _LEADING_INTEGER.match(value)
            level = int(match[1]) if match else 0
    return level


def parse_options(words: Sequence[str], program: str) -> Options:
    """Parse the command line. Raises `click.UsageError`."""
    options = _grammar.main(list(words), prog_name=program, standalone_mode=False)
    assert isinstance(options, Options)
    return options


def help_text(program: str) -> str:
    """Return the text of ``--help``."""
    formatter = click.HelpFormatter(width=100)
    context = click.Context(_grammar, info_name=program)
    formatter.write_usage(program, "[OPTION]...")
    options = [param for param in _grammar.params if isinstance(param, click.Option)]
    rows = [record for option in options if (record := option.get_help_record(context))]
    with formatter.section("Options"):
        formatter.write_dl(rows)
    return formatter.getvalue()
