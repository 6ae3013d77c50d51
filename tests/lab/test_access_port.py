from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pytinc.lab.access_port import MEANS
from pytinc.lab.echo import answers
from pytinc.lab.namespaces import Host, Lab, missing_means

pytestmark = [
    pytest.mark.namespaces,
    pytest.mark.skipif(missing_means() is not None, reason=str(missing_means())),
]


@contextlib.contextmanager
def access_port(host: Host, vlan: int) -> Iterator[None]:
    """Put a host's port on the lab's switch into a VLAN."""
    program = (sys.executable, "-m", "pytinc.lab.access_port", host.name, str(vlan))
    command = ("ip", "netns", "exec", host.lab.switch, *program)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if MEANS in line:
            pytest.skip(line)
        assert line == "attached\n"
        yield
        process.terminate()


def test_hosts_reach_those_of_their_vlan_only() -> None:
    with Lab() as lab:
        one, two, three, plain = hosts = [lab.host(name) for name in ("one", "two", "three", "plain")]
        with contextlib.ExitStack() as ports:
            for host, vlan in zip(hosts[:3], (10, 10, 20), strict=True):
                ports.enter_context(access_port(host, vlan))
            assert answers(one, two.address)
            assert not answers(one, three.address, wait=0.3)
            assert not answers(one, plain.address, wait=0.3)
            assert not answers(plain, one.address, wait=0.3)
        assert answers(three, plain.address)


def test_an_interface_that_does_not_exist_ends_the_program_with_a_message() -> None:
    command = [sys.executable, "-m", "pytinc.lab.access_port", "nowhere0", "10"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "nowhere0" in done.stderr
    assert "Traceback" not in done.stderr
