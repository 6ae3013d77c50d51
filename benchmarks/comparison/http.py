"""HTTP through a tunnel: nginx that answers with a name, wrk as the load; and the rate of new connections.

Needs the Debian packages nginx-light and wrk (``interop/setup.sh bench``).
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from comparison.tunnels import installed
from pytinc.lab.namespaces import Host, LabError
from pytinc.lab.node import PATIENCE_S, wait_until

CONNECTIONS: Final = 12
"""Connections that the load has at a time."""
NGINX: Final = """\
worker_processes 1;
daemon off;
pid {directory}/pid;
error_log {directory}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000;
    client_body_temp_path {directory}/b; proxy_temp_path {directory}/p; fastcgi_temp_path {directory}/f;
    uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
    server {{
        listen 80;
        location / {{ default_type text/plain; return 200 "{name}\\n"; }}
    }}
}}
"""

_RATE: Final = re.compile(r"Requests/sec:\s+([\d.]+)")
_WRONG: Final = re.compile(r"Non-2xx or 3xx responses:\s+(\d+)")


def serve_http(host: Host, name: str, directory: Path, answers: Callable[[], bool]) -> subprocess.Popen[str]:
    """Start nginx, which answers everything with ``name``; return once ``answers``.

    ``directory`` gets its configuration and its log. Raises LabError if it fails.
    """
    directory.mkdir(exist_ok=True)
    (directory / "nginx.conf").write_text(NGINX.format(directory=directory, name=name))
    process = host.spawn(installed("nginx"), "-e", f"{directory}/error.log", "-c", f"{directory}/nginx.conf")
    wait_until(lambda: process.poll() is not None or answers(), PATIENCE_S, "nginx answers")
    if process.poll() is not None:
        raise LabError(f"nginx: {process.communicate()[0].strip() or 'has ended'}")
    return process


def listens(host: Host) -> bool:
    """Return whether anything listens on port 80 of a host."""
    return bool(host.run("ss", "-Htln", "sport = :80").stdout)


def requests_per_second(host: Host, address: str, seconds: int, *, kept: bool = True) -> float:
    """Return the requests a second that wrk makes on its connections.

    It keeps them, or (not ``kept``) makes a new one for each request. Raises LabError if wrk is missing or
    got invalid answers.
    """
    options = () if kept else ("-H", "Connection: close")
    command = ("wrk", "-t2", f"-c{CONNECTIONS}", f"-d{seconds}s", *options, f"http://{address}/")
    done = host.run(*command, check=False, timeout=seconds + PATIENCE_S)
    return parse_wrk(done.stdout + done.stderr)


def parse_wrk(text: str) -> float:
    """Return the requests a second from wrk's report. Raises LabError if there are none, or HTTP errors."""
    found = _RATE.search(text)
    if found is None or float(found[1]) == 0:
        raise LabError(f"wrk: {' / '.join(text.strip().splitlines()[-2:]) or 'no report'}")
    if (wrong := _WRONG.search(text)) is not None:
        raise LabError(f"wrk: {wrong[1]} answers are errors")
    return float(found[1])


def connections_per_second(host: Host, address: str, seconds: int) -> float:
    """Return how many TCP connections to port 80 a host opens (and resets) a second, `CONNECTIONS` at a time.

    Raises LabError if none works.
    """
    script = str(Path(__file__).with_name("connect.py"))
    command = (sys.executable, script, address, "80", str(seconds), str(CONNECTIONS))
    done = host.run(*command, check=False, timeout=seconds + PATIENCE_S)
    try:
        opened = int(done.stdout)
    except ValueError:
        raise LabError(f"connect: {done.stderr.strip().splitlines()[-1:] or 'no report'}") from None
    if opened == 0:
        raise LabError("connect: no connection is established")
    return opened / seconds
