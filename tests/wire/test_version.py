"""What programs say of their version."""

from __future__ import annotations

from pytinc import __version__
from pytinc.wire.version import version_of


def test_the_version_has_the_lines_that_other_programs_read() -> None:
    lines = version_of("pytincd", ["comp_zlib", "sandbox"]).splitlines()
    assert lines[0] == f"tinc version {__version__} (pytincd, protocol 17.7)"
    assert lines[1] == "Features: comp_zlib sandbox"
    assert lines[-1] == "see the file COPYING for details."
