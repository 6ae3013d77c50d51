"""`Launch`: what the start of the daemon (`pytinc.daemon.app`) hands to `pytinc.daemon.service`."""

from __future__ import annotations

from dataclasses import dataclass

from pytinc.config.paths import Paths
from pytinc.config.store import ConfigTree
from pytinc.daemon.logging_setup import DaemonLog
from pytinc.daemon.options import Options
from pytinc.daemon.umbilical import Umbilical


@dataclass(slots=True)
class Launch:
    """What the first steps of the start have read and opened."""

    options: Options
    paths: Paths
    tree: ConfigTree
    log: DaemonLog
    umbilical: Umbilical | None
    foreground: bool
    sandbox: str = "off"
    """The variable Sandbox: off, normal or high."""
    inherited_sockets: int = 0
    """Listening sockets passed by the service manager."""
