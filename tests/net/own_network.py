"""Code that runs in a network of its own, so that it may change links and addresses."""

from __future__ import annotations

import subprocess
import sys

import pytest


def in_own_network(code: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a new network namespace; skip the test where none can be made."""
    done = subprocess.run(
        ["unshare", "--net", "--map-root-user", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if "unshare" in done.stderr:
        pytest.skip("no network namespaces here")
    return done
