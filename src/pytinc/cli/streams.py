"""log and pcap: streams from the daemon, copied until one side ends them.

See docs/tinc-program.md, "log, pcap and top".
"""

from __future__ import annotations

import struct
import sys
import time
from typing import TYPE_CHECKING, Final

from pytinc.cli.session import say
from pytinc.cli.text import atoi, wants_colour
from pytinc.control.messages import MAX_PCAP_PAYLOAD, Request

if TYPE_CHECKING:
    from pytinc.cli.session import Session

FOLLOW_DAEMON: Final = -1
"""The log level that stands for the daemon's own level."""
_FILE_HEADER: Final = struct.Struct("=IHHIIII")
_RECORD_HEADER: Final = struct.Struct("=IIII")
_MAGIC: Final = 0xA1B2C3D4
_ETHERNET: Final = 1


def log(session: Session, words: list[str]) -> int:
    """Print the daemon's log messages as they come. Ctrl-C ends it without an error."""
    level = atoi(words[0]) if words else FOLLOW_DAEMON
    output = sys.stdout.buffer
    try:
        for message in session.client().stream(Request.LOG, level, int(wants_colour(sys.stdout))):
            output.write(message + b"\n")
            output.flush()
    except KeyboardInterrupt:
        say("")
    finally:
        # A stream has no end marker: the connection cannot be used for anything else.
        session.disconnect()
    return 0


def pcap(session: Session, words: list[str]) -> int:
    """Write the packets that the daemon routes to stdout, as a pcap file."""
    snaplen = max(atoi(words[0]), 0) if words else 0
    output = sys.stdout.buffer
    try:
        frames = session.client().stream(Request.PCAP, snaplen)
        output.write(file_header(snaplen))
        output.flush()
        for frame in frames:
            output.write(record(frame, time.time_ns()))
            output.flush()
    finally:
        session.disconnect()
    return 0


def file_header(snaplen: int) -> bytes:
    """Return the header of a pcap file; ``snaplen`` 0 means the largest frame."""
    return _FILE_HEADER.pack(_MAGIC, 2, 4, 0, 0, (snaplen or MAX_PCAP_PAYLOAD) & 0xFFFFFFFF, _ETHERNET)


def record(frame: bytes, now_ns: int) -> bytes:
    """Return a packet as a record of a pcap file; its time of arrival is in nanoseconds since 1970."""
    seconds, rest = divmod(now_ns, 1_000_000_000)
    return _RECORD_HEADER.pack(seconds & 0xFFFFFFFF, rest // 1000, len(frame), len(frame)) + frame
