"""The program that talks to the router: it finds it by UPnP and lets it map ports, by the library miniupnpc.

`pytinc.net.upnp` runs it as a separate process, once every UPnPRefreshPeriod. The library blocks, is written
in C, and trusts the answers of any host in the local network, however long they take. In this process it
knows no keys, and its memory and time are limited; the daemon ends it when it takes too long.

Arguments: milliseconds to wait for answers, lifetime of the mappings in seconds, then ``PORT/PROTOCOL`` for
each port. It prints one JSON object a line: ``router`` and ``address`` once, then ``port`` and ``error``
(null: mapped) for each port; or only ``error``. It imports nothing else of pytinc.
"""

from __future__ import annotations

import json
import resource
import sys
from typing import Any, Final

MAX_MEMORY: Final = 512 << 20
"""Bytes of address space, of which Python and its libraries take about 50 million."""
MAX_CPU: Final = 10
"""Seconds; a usual run takes less than a tenth of one."""
DESCRIPTION: Final = "tinc"
"""The description that routers show in their lists, the same as tinc's."""


def main(words: list[str]) -> int:
    """Map the ports; return the exit status, 1 if nothing could be mapped."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU, MAX_CPU))
    wait, lease, *ports = words
    try:
        return _map(int(wait), int(lease), ports)
    # The library raises nothing more specific, whatever went wrong.
    except Exception as error:
        _tell(error=str(error))
        return 1


def _map(wait: int, lease: int, ports: list[str]) -> int:
    import miniupnpc

    library = miniupnpc.UPnP(discoverdelay=wait)
    if library.discover() == 0:
        _tell(error="no router answers in the local network")
        return 1
    library.selectigd()
    state, _, _ = library.statusinfo()
    if state != "Connected":
        _tell(error=f"the router is not connected to the Internet: it says {state[:40]!r}")
        return 1
    _tell(router=library.externalipaddress(), address=library.lanaddr)
    failures = 0
    for port in ports:
        number, _, protocol = port.partition("/")
        error = _map_port(library, int(number), protocol.upper(), lease)
        _tell(port=port, error=error)
        failures += error is not None
    return 1 if failures else 0


def _map_port(library: Any, port: int, protocol: str, lease: int) -> str | None:
    """Map one port to the same port of this host; return the error, None if there is none."""
    arguments = (port, protocol, library.lanaddr, port, DESCRIPTION, "", lease)
    try:
        library.addportmapping(*arguments)
    except Exception as error:
        return str(error)
    return None


def _tell(**values: str | None) -> None:
    print(json.dumps(values), flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
