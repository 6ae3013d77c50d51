from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from comparison.machine import cpu_seconds
from pytinc.lab.namespaces import LabError


def test_cpu_time_of_a_process_grows_as_it_works() -> None:
    before = cpu_seconds([os.getpid()])
    end = time.process_time() + 0.02
    while time.process_time() < end:
        pass
    assert 0.02 <= cpu_seconds([os.getpid()]) - before < 10
    assert cpu_seconds([]) == 0


def test_a_process_that_is_gone_is_an_error() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with pytest.raises(LabError, match="a daemon is gone"):
        cpu_seconds([process.pid])
