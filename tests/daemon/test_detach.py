"""Going into the background: the parent ends at once, the child is on its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

CODE = """
import atexit, json, os, sys
from pytinc.daemon.detach import detach
atexit.register(lambda: print("tidied", file=open(sys.argv[2], "a")))
if sys.argv[1] == "closed":
    os.close(0)
detach()
streams = [os.readlink(f"/proc/self/fd/{number}") for number in range(3)]
print("heard by nobody", flush=True)
more = len(os.listdir("/proc/self/fd")) - 3
told = {"pid": os.getpid(), "session": os.getsid(0), "streams": streams, "more": more}
os.write(int(sys.argv[3]), json.dumps(told).encode())
"""


def run(tmp_path: Path, how: str) -> tuple[subprocess.CompletedProcess[str], dict[str, object], str]:
    """Run a program that detaches; return its end, what its child tells, and who ran the exit handlers."""
    reader, writer = os.pipe()
    handlers = tmp_path / "handlers"
    handlers.touch()
    program = subprocess.Popen(
        [sys.executable, "-c", CODE, how, str(handlers), str(writer)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=[writer],
    )
    os.close(writer)
    # Its streams end with the parent, as the child has given them up.
    out, err = program.communicate(timeout=60)
    with os.fdopen(reader, "rb") as child:
        told = json.loads(child.read())
    told["parent"] = program.pid
    done = subprocess.CompletedProcess(program.args, program.returncode, out, err)
    return done, told, handlers.read_text()


def test_the_parent_succeeds_in_silence_and_the_child_has_its_own_session(tmp_path: Path) -> None:
    done, told, _ = run(tmp_path, "usual")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert told["pid"] == told["session"] != told["parent"]


def test_the_child_has_no_standard_streams_and_no_other_descriptors(tmp_path: Path) -> None:
    _, usual, _ = run(tmp_path, "usual")
    assert usual["streams"] == ["/dev/null"] * 3
    _, closed, _ = run(tmp_path, "closed")
    assert closed["streams"] == ["/dev/null"] * 3
    assert closed["more"] == usual["more"]


def test_only_the_child_runs_exit_handlers(tmp_path: Path) -> None:
    _, _, handlers = run(tmp_path, "usual")
    assert handlers == "tidied\n"
