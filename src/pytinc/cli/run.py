"""Running one command: finding it, checking its words, and turning its failures into messages.

`pytinc.cli.app` runs the command of a command line, `pytinc.cli.shell` one command after the other.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Final

import click

from pytinc.cli.commands import find, unknown_command
from pytinc.cli.session import Session, close_stdout, say
from pytinc.errors import PytincError

INTERRUPTED: Final = 130
"""Exit status after Ctrl-C: the one that shells report for a program killed by it."""


def run_command(session: Session, word: str, words: list[str]) -> int:
    """Run one command and return its exit status; tinc's messages go to stderr."""
    command = find(word)
    if command is None:
        if session.in_shell:
            say(unknown_command(word))
            return 1
        raise click.UsageError(unknown_command(word))
    if words == ["--help"] and not command.own_help:
        from pytinc.cli.about import command_help

        print(command_help(session.program, word), end="")
        return 0
    session.json, words = command.take_json(words)
    complaint = command.wrong_count(words)
    if complaint is not None:
        raise click.ClickException(complaint)
    return command.load()(session, words)


def guarded(program: str, action: Callable[[], int]) -> int:
    """Run ``action``; turn any failure into a message and an exit status, never a traceback."""
    try:
        status = action()
        sys.stdout.flush()
        return status
    except click.UsageError as error:
        say(f"{_usage_message(program, error)}\nTry `{program} --help' for more information.")
    except click.ClickException as error:
        say(error.message)
    except click.Abort:
        # click turns Ctrl-C into this, and has ended the line already.
        return INTERRUPTED
    except KeyboardInterrupt:
        say("")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has closed the pipe. Nothing may be written at exit either.
        with contextlib.suppress(OSError):
            close_stdout()
    except PytincError as error:
        say(str(error))
    except OSError as error:
        say(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    return 1


def _usage_message(program: str, error: click.UsageError) -> str:
    """Return click's complaint about a global option in the words of getopt."""
    if isinstance(error, click.NoSuchOption):
        name = error.option_name
        kind = f"unrecognized option '{name}'" if name.startswith("--") else f"invalid option -- '{name[1:]}'"
        return f"{program}: {kind}"
    if isinstance(error, click.BadOptionUsage):
        name = error.option_name
        if "not take a value" in error.message:
            return f"{program}: option '{name}' doesn't allow an argument"
        if name.startswith("--"):
            return f"{program}: option '{name}' requires an argument"
        return f"{program}: option requires an argument -- '{name[1:]}'"
    return error.message
