"""Make an interface an access port of a VLAN: ``python -m pytinc.lab.access_port INTERFACE VLAN``.

Frames that come in through the interface get the VLAN's tag. Only frames with this tag leave through it,
without the tag. A plain bridge with such ports is a VLAN switch whose other ports are trunks, even on a
kernel that was built without VLANs. Two short programs in the kernel (eBPF) do this, so joined frames (TSO)
stay joined, and the tag is kept beside the frame as with any VLAN switch. The port lasts as long as this
process.

The interop tests run it in a host's namespace.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Final

MEANS: Final = "it takes the real root and Linux 6.6"
_SYS_BPF: Final = {"x86_64": 321, "aarch64": 280}
_PROG_LOAD: Final = 5
_LINK_CREATE: Final = 28
_SCHED_CLS: Final = 3
_TCX_INGRESS: Final = 46
_TCX_EGRESS: Final = 47
_ATTRIBUTES: Final = 128
"""The size of the kernel's union bpf_attr. Fields that are not used are zero."""
_PASS: Final = 0
_DROP: Final = 2

# Instructions: code, registers (destination, then source in the upper half), offset, immediate value.
_INSTRUCTION: Final = struct.Struct("=BBhi")
_SET: Final = 0xB7
_LOAD_WORD: Final = 0x61
_AND: Final = 0x57
_JUMP_IF_NOT: Final = 0x55
_CALL: Final = 0x85
_EXIT: Final = 0x95
_VLAN_PUSH: Final = 18
_VLAN_POP: Final = 19
_VLAN_PRESENT: Final = 20  # offsets in struct __sk_buff
_VLAN_TCI: Final = 24
_VLAN_PROTOCOL: Final = socket.htons(0x8100)

Instruction = tuple[int, int, int, int]


def tag(vlan: int) -> list[Instruction]:
    """Return the program that gives frames that come in the tag."""
    return [
        (_SET, 2, 0, _VLAN_PROTOCOL),
        (_SET, 3, 0, vlan),
        (_CALL, 0, 0, _VLAN_PUSH),
        (_SET, 0, 0, _PASS),
        (_EXIT, 0, 0, 0),
    ]


def untag(vlan: int) -> list[Instruction]:
    """Return the program that takes the tag from frames that leave, and drops frames without it."""
    return [
        (_LOAD_WORD, 2 | 1 << 4, _VLAN_PRESENT, 0),
        (_JUMP_IF_NOT, 2, 2, 0),
        (_SET, 0, 0, _DROP),
        (_EXIT, 0, 0, 0),
        (_LOAD_WORD, 2 | 1 << 4, _VLAN_TCI, 0),
        (_AND, 2, 0, 0xFFF),
        (_JUMP_IF_NOT, 2, -5, vlan),
        (_CALL, 0, 0, _VLAN_POP),
        (_SET, 0, 0, _PASS),
        (_EXIT, 0, 0, 0),
    ]


def _bpf(command: int, attributes: bytes) -> int:
    """Make the system call bpf. Raises OSError."""
    kernel = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(attributes, _ATTRIBUTES)
    number = _SYS_BPF.get(os.uname().machine, -1)  # -1: the kernel answers ENOSYS
    answer = int(kernel.syscall(number, command, buffer, _ATTRIBUTES))
    if answer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer


def _attach(program: Sequence[Instruction], interface: str, where: int) -> None:
    """Attach a program to an interface for as long as this process lives. Raises OSError."""
    code = ctypes.create_string_buffer(b"".join(_INSTRUCTION.pack(*step) for step in program))
    licence = ctypes.create_string_buffer(b"GPL")
    load = struct.pack("=IIQQ", _SCHED_CLS, len(program), ctypes.addressof(code), ctypes.addressof(licence))
    loaded = _bpf(_PROG_LOAD, load)
    _bpf(_LINK_CREATE, struct.pack("=III", loaded, socket.if_nametoindex(interface), where))


def main(words: Sequence[str] | None = None) -> None:
    """Make the access port, and wait for a signal that ends this process."""
    parser = argparse.ArgumentParser(prog="python -m pytinc.lab.access_port")
    parser.add_argument("interface")
    parser.add_argument("vlan", type=int)
    options = parser.parse_args(words)
    try:
        _attach(tag(options.vlan), options.interface, _TCX_INGRESS)
        _attach(untag(options.vlan), options.interface, _TCX_EGRESS)
    except OSError as error:
        parser.exit(1, f"cannot make {options.interface} an access port ({MEANS}): {error.strerror}\n")
    sys.stdout.write("attached\n")
    sys.stdout.flush()
    signal.pause()


if __name__ == "__main__":
    main()
