"""view: a page in the browser that shows the mesh live (docs/view.md). Not in tinc."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from pytinc.cli.session import say
from pytinc.errors import DeviceError

if TYPE_CHECKING:
    from pytinc.cli.session import Session
    from pytinc.control.client import ControlClient

MISSING: Final = (
    "`view' needs the Python libraries starlette and uvicorn: install them with `pip install pytinc[view]'."
)


def view(session: Session, words: list[str]) -> int:
    """Serve the page until Ctrl-C. The daemon need not run yet, and may be started again."""
    try:
        from pytinc.view import serve
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] == "pytinc":
            raise
        raise click.ClickException(MISSING) from error
    listen, names, descriptor = _options(words)
    try:
        address, port = serve.parse_listen("localhost" if listen is None else listen)
    except DeviceError as error:
        raise click.UsageError(str(error)) from error
    paths = session.paths
    # A wrong directory or a missing right is told now and not on the page.
    session.client()
    session.disconnect()
    if descriptor is None:
        listening = serve.listen(address, port, or_any=listen is None)
    else:
        listening = serve.inherited(descriptor)
    if not serve.is_local(listening):
        say("Warning: there is no encryption. Anybody on the path can read the token and all data.")

    def connect() -> ControlClient:
        from pytinc.control.client import ControlClient

        return ControlClient.connect(paths.pidfile, paths.socket)

    def show(url: str) -> None:
        print(url, flush=True)
        say("Open this URL in a browser. Do not pass it on: it has a token. Ctrl-C ends.")

    serve.serve(connect, listening, netname=session.netname or "", names=names, say=show)
    return 0


def _options(words: list[str]) -> tuple[str | None, list[str], int | None]:
    """Return the values of ``--listen``, of all ``--host``, and of ``--socket``, a descriptor."""
    listen, names, descriptor = None, [], None
    rest = list(words)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if name not in ("--listen", "--host", "--socket"):
            raise click.UsageError(f"unknown word `{name}': use --listen and --host")
        if not equals:
            if not rest:
                raise click.UsageError(f"{name} needs a value")
            value = rest.pop(0)
        if name == "--listen":
            listen = value
        elif name == "--host":
            names.append(value.lower())
        elif value.isascii() and value.isdigit():
            descriptor = int(value)
        else:
            raise click.UsageError("--socket needs the number of a descriptor")
    return listen, names, descriptor
