"""`Session`: the global options of one run, its paths, and its connection to the daemon.

Every command function takes a `Session` and its words. It raises its failures (`click.ClickException` if no
other type fits); `pytinc.cli.run.guarded` turns them into messages and an exit status.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytinc.cli.text import wants_colour
from pytinc.config.paths import Paths, chosen_netname, cli_paths
from pytinc.errors import ControlError
from pytinc.wire.names import is_safe_netname

if TYPE_CHECKING:
    from pytinc.config.store import ConfigTree
    from pytinc.control.client import ControlClient

NO_NETWORK: Final = (
    "There is no network on this machine yet. `pytinc -n NETNAME init NAME' makes one, and "
    "`pytinc join URL' joins another one's with the URL that `pytinc invite NAME' prints there."
)


def say(text: str) -> None:
    """Print a progress message, a warning or an error on stderr: output that the user did not ask for."""
    print(text, file=sys.stderr, flush=True)


class Session:
    """Global options and the values derived from them. In the shell, one session serves all commands."""

    def __init__(
        self,
        program: str,
        *,
        batch: bool = False,
        force: bool = False,
        confbase: str | None = None,
        netname: str | None = None,
        pidfile: str | None = None,
        in_shell: bool = False,
    ) -> None:
        self.program = program
        self.batch = batch
        self.force = force
        self.given_confbase = confbase
        self.netname = chosen_netname(netname)
        self.given_pidfile = pidfile
        self.in_shell = in_shell
        self.json = False
        """The running command prints JSON."""
        self.tty = not batch and sys.stdin.isatty() and sys.stdout.isatty()
        self._client: ControlClient | None = None
        if confbase is not None and self.netname is not None:
            say("Both netname and configuration directory given, using the latter...")

    # -- Files ---------------------------------------------------------------------------------------------

    @property
    def paths(self) -> Paths:
        """All paths, found again each time: a daemon that has started since may use another pid file."""
        return cli_paths(self.netname, self.given_confbase, self.given_pidfile)

    @property
    def confbase(self) -> str:
        """The configuration directory as the user gave it."""
        return self.paths.confbase

    @property
    def tinc_conf(self) -> str:
        """Path of tinc.conf."""
        return f"{self.confbase}/tinc.conf"

    def host_file(self, name: str) -> str:
        """Path of a node's host file."""
        return f"{self.confbase}/hosts/{name}"

    @property
    def tree(self) -> ConfigTree:
        """The configuration's files."""
        from pytinc.config.store import ConfigTree

        return ConfigTree(self.confbase)

    def own_name(self) -> str:
        """Return this node's name. Raises an error with tinc's wording if tinc.conf has none."""
        from pytinc.cli.files import own_name

        return own_name(self.tinc_conf)

    # -- Words for messages --------------------------------------------------------------------------------

    @property
    def suggestion(self) -> str:
        """Program and options of a command line for the same configuration."""
        if self.given_confbase is not None:
            return f"{self.program} -c {self.given_confbase}"
        return f"{self.program} -n {self.netname}" if self.netname else self.program

    def script(self, name: str) -> str:
        """Return the path of a script. Raises `ConfigError` if tinc.conf cannot be read."""
        extension = self.tree.read_server().first("ScriptsExtension")
        return f"{self.confbase}/{name}{'' if extension is None else extension.value}"

    @property
    def daemon_options(self) -> list[str]:
        """The global options to give to the daemon, which has no -b and no --force."""
        options: list[str] = []
        if self.given_confbase is not None:
            options += ["-c", self.given_confbase]
        if self.netname is not None:
            options += ["-n", self.netname]
        if self.given_pidfile is not None:
            options.append(f"--pidfile={self.given_pidfile}")
        return options

    @property
    def pretty(self) -> bool:
        """Whether lists are laid out for people instead of programs that read tinc's lines."""
        return not self.batch and wants_colour(sys.stdout) and os.environ.get("PYTINC_PLAIN") != "1"

    def ask(self, prompt: str) -> str | None:
        """Prompt on stderr and return a line of stdin without its newline; None at the end of stdin."""
        print(prompt, end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        return line.rstrip("\n") if line else None

    def missing_network(self) -> str:
        """Return what to say if the network does not exist, with the networks there are.

        Empty if it exists, or if we may not look.
        """
        try:
            if self.given_confbase is not None or Path(self.tinc_conf).exists():
                return ""
        except PermissionError:
            return ""
        confdir = self.paths.confdir
        names = ", ".join(sorted(path.parent.name for path in Path(confdir).glob("*/tinc.conf")))
        if self.netname is None:
            return f"No network is named: use -n NETNAME. Networks here: {names}." if names else NO_NETWORK
        there = f"networks here: {names}" if names else f"{confdir} has no network"
        return f"There is no network {self.netname} ({there})."

    # -- The daemon ----------------------------------------------------------------------------------------

    def client(self) -> ControlClient:
        """Return a connection to the daemon; in the shell, the one of earlier commands if it still works."""
        from pytinc.control.client import ControlClient, NoDaemonError

        if self._client is not None:
            if not self._client.is_stale:
                return self._client
            say("Previous connection to tincd lost, reconnecting.")
            self.disconnect()
        paths = self.paths
        try:
            self._client = ControlClient.connect(paths.pidfile, paths.socket)
        except NoDaemonError as error:
            if error.pid is None and (hint := self.missing_network()):
                raise NoDaemonError(f"{error}\n{hint}") from error
            raise
        return self._client

    def disconnect(self) -> None:
        """Drop the connection to the daemon."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def reload_quietly(self) -> None:
        """Tell the daemon, if there is one, to reload, and wait until it has. Failure is ignored.

        Departure from tinc, which does not wait: the next command would see the old state.
        """
        from pytinc.control.messages import Request

        with contextlib.suppress(ControlError):
            self.client().command(Request.RELOAD)

    # -- The shell -----------------------------------------------------------------------------------------

    def switch_network(self, name: str | None) -> None:
        """Use another network from now on; forget -c, --pidfile and the connection."""
        self.netname = name
        self.given_confbase = None
        self.given_pidfile = None
        self.disconnect()

    def end_output(self) -> None:
        """Tell the reader of a pipe that the output ends (``exchange`` waits for that)."""
        if self.tty or self.in_shell:
            return
        sys.stdout.flush()
        with contextlib.suppress(OSError):
            close_stdout()


def warn_unsafe_netname(name: str) -> None:
    """Warn of a network name with characters that a shell would interpret."""
    if not is_safe_netname(name):
        say("Warning: unsafe character in netname!")


def close_stdout() -> None:
    """End standard output: its reader sees the end, and later output is discarded."""
    # The descriptor must stay in use, or the next file opened would become standard output.
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, sys.stdout.fileno())
    finally:
        os.close(null)
