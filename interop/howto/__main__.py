"""``make howto``: play the how-to and print the table; the exit status is 0 if all plays passed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import ExitStack

from howto.machines import Backend
from howto.namespaces import NamespaceBackend
from howto.report import markdown, write
from howto.story import CASTS, KINDS, NODES, play_all
from pytinc.lab.namespaces import LabError


def cast(text: str) -> str:
    """Return a cast in capital letters. Raises argparse.ArgumentTypeError for any other text."""
    letters = text.upper()
    if len(letters) != len(NODES) or not set(letters) <= set(KINDS):
        raise argparse.ArgumentTypeError(f"a cast is {len(NODES)} letters of {''.join(KINDS)}")
    return letters


def backend_maker(name: str, stack: ExitStack) -> Callable[[], Backend]:
    """Return a function that makes a backend; ``stack`` closes what is shared by all plays."""
    if name == "namespaces":
        return NamespaceBackend
    from howto.containers import ContainerBackend
    from howto.engine import Engine
    from howto.images import Images

    engine = stack.enter_context(Engine())
    images = Images(engine)
    images.prepare()
    names = images.build()
    return lambda: ContainerBackend(engine, names)


def main() -> int:
    """Run the program and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m howto", description=__doc__)
    parser.add_argument("--backend", choices=["namespaces", "docker"], default="namespaces")
    parser.add_argument(
        "--cast", action="append", type=cast, metavar="LETTERS",
        help=f"a letter (C: tinc, P: pytinc) for each of {', '.join(NODES)}; may be repeated; "
        f"default: {', '.join(CASTS)}",
    )  # fmt: skip
    options = parser.parse_args()
    try:
        with ExitStack() as stack:
            make_backend = backend_maker(options.backend, stack)
            outcomes = play_all(
                make_backend, options.cast or list(CASTS), lambda line: print(line, flush=True)
            )
    except LabError as error:
        print(f"howto: {error}", file=sys.stderr)
        return 1
    path = write(outcomes, f"howto-{options.backend}")
    print(f"\n{markdown(outcomes)}\nwritten to {path}")
    return 0 if all(outcome.passed for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
