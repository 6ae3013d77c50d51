"""A Docker engine to play on: the one that runs already, or one of our own for the time of the play.

Our own runs in a new network namespace, so that it touches none of the machine's firewall rules and
addresses, and keeps its data in a temporary directory. It ends with this process, even if this process is
killed. Used by `howto.containers`, `howto.images` and ``interop/test_containers.py``.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pytinc.lab.namespaces import COMMAND_TIMEOUT_S, TUN, Completed, LabError, run

START_LIMIT_S: Final = 60.0
STOP_LIMIT_S: Final = 60.0
STORAGE_DRIVERS: Final = ("overlay2", "vfs")  # vfs works everywhere but is slow
_PREFIX: Final = "pytinc-engine-"


class Engine:
    """A running engine; a context manager that ends it if it is our own. Raises LabError if none can run."""

    _numbers = itertools.count()

    def __init__(self) -> None:
        if not TUN.exists():
            raise LabError(f"{TUN} does not exist, so containers cannot use it")
        client = shutil.which("docker")
        if client is None:
            raise LabError("the Docker client is not installed (Debian's package docker.io)")
        self._command: tuple[str, ...] = (client,)
        self._process: subprocess.Popen[bytes] | None = None
        self._directory: Path | None = None
        self.tag = f"pytinc-{os.getpid()}"
        # "version" fails without an engine; "info" of some clients does not.
        if self.docker("version", check=False).returncode != 0:
            self._start_own()

    @property
    def address(self) -> str | None:
        """The value of DOCKER_HOST for our own engine; None if it is the machine's."""
        return None if self._directory is None else f"unix://{self._directory}/socket"

    def enter(self, *command: str) -> tuple[str, ...]:
        """Return the command that runs another one in the network of our own engine."""
        assert self._process is not None
        return ("nsenter", f"--net=/proc/{self._process.pid}/ns/net", *command)

    def docker(
        self, *words: str, stdin: str | None = None, check: bool = True, timeout: float = COMMAND_TIMEOUT_S
    ) -> Completed:
        """Run the client with these words, like `pytinc.lab.namespaces.run`."""
        return run(*self._command, *words, stdin=stdin, check=check, timeout=timeout)

    def build(self, context: Path, tag: str, *options: str, timeout: float = 300) -> None:
        """Build an image without network access. Raises LabError."""
        # The classic builder (DOCKER_BUILDKIT=0): every engine has it, and it does not pull images of its
        # own.
        words = (*self._command, "build", "--quiet", "--network", "none", "--tag", tag, *options)
        run("env", "DOCKER_BUILDKIT=0", *words, str(context), timeout=timeout)

    def unique(self, what: str) -> str:
        """Return a name that no other container or network has."""
        return f"{self.tag}-{next(self._numbers)}-{what}"

    def remove(self, *containers: str) -> None:
        """Remove containers, even running ones; never raises."""
        if containers:
            with contextlib.suppress(LabError):
                self.docker("rm", "--force", "--volumes", *containers, check=False)

    # -- an engine of our own --

    def _start_own(self) -> None:
        daemon = shutil.which("dockerd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if os.geteuid() != 0:
            raise LabError("no Docker engine runs here, and starting one needs root")
        if daemon is None:
            raise LabError(
                "no Docker engine runs here, and dockerd is not installed (Debian's package docker.io)"
            )
        _sweep()
        self._directory = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        self._command = (self._command[0], "--host", f"unix://{self._directory}/socket")
        reason = ""
        for driver in STORAGE_DRIVERS:
            self._process = self._launch(daemon, driver)
            if self._comes_up():
                return
            reason = self._reason_of_failure()
            self._end()
        self.close()
        raise LabError(f"dockerd does not run here: {reason}")

    def _launch(self, daemon: str, driver: str) -> subprocess.Popen[bytes]:
        home = self._directory
        assert home is not None
        with (home / "log").open("ab") as log:
            return subprocess.Popen(
                [
                    # The kernel ends it together with the thread that started it: start it in the main
                    # thread.
                    "setpriv", "--pdeathsig", "TERM", "unshare", "--net",
                    daemon, "--host", f"unix://{home}/socket", "--data-root", f"{home}/data",
                    "--exec-root", f"{home}/exec", "--pidfile", f"{home}/pid", "--storage-driver", driver,
                    "--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false",
                    "--ip-masq=false", "--userland-proxy=false",
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def _comes_up(self) -> bool:
        assert self._process is not None
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            if self.docker("version", check=False).returncode == 0:
                return True
            time.sleep(0.2)
        return False

    def _reason_of_failure(self) -> str:
        assert self._directory is not None
        lines = (self._directory / "log").read_text(errors="replace").splitlines()
        reasons = [line for line in lines if "level=fatal" in line or "failed" in line]
        return reasons[-1] if reasons else "it gave no reason"

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def close(self) -> None:
        """End our own engine and remove its data; an engine that ran before is left alone."""
        self._end()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _sweep() -> None:
    """Remove the directories that were left behind by processes that were killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        pid = path.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(path, ignore_errors=True)
