"""A minimal tunnel in Python: seals and sends the frames that it reads, opens and writes datagrams.

    python bare.py OWN_ADDRESS PEER_ADDRESS ADDRESS/PREFIX

It has no MAC table, no handshake, no counters, no protection against replays and no key but zeros, so its
only use is to show how much of a daemon's delay is Python's (docs/performance.md).
"""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
from typing import Final

import pytun_pmd3
import uvloop
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

PORT: Final = 7000
TAP_WITHOUT_HEADER: Final = 0x1002
NUMBER: Final = 8
ZEROS: Final = bytes(4)


def main(own: str, peer: str, address: str) -> None:
    """Carry frames until the process is ended."""
    device = pytun_pmd3.TunTapDevice("bare", TAP_WITHOUT_HEADER, "/dev/net/tun")
    subprocess.run(("ip", "address", "add", address, "dev", "bare"), check=True)
    subprocess.run(("ip", "link", "set", "dev", "bare", "mtu", "1400", "up"), check=True)
    descriptor: int = device.fileno()
    os.set_blocking(descriptor, False)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((own, PORT))
    udp.setblocking(False)
    cipher = ChaCha20Poly1305(bytes(32))
    encrypt, decrypt, sendto, recvfrom, target = (
        cipher.encrypt,
        cipher.decrypt,
        udp.sendto,
        udp.recvfrom,
        (peer, PORT),
    )
    count = 0

    def out() -> None:
        nonlocal count
        frame = os.read(descriptor, 2000)
        count += 1
        number = count.to_bytes(NUMBER, "big")
        sendto(number + encrypt(ZEROS + number, frame, None), target)

    def into() -> None:
        datagram, _ = recvfrom(2000)
        os.write(descriptor, decrypt(ZEROS + datagram[:NUMBER], datagram[NUMBER:], None))

    loop = uvloop.new_event_loop()
    loop.add_reader(descriptor, out)
    loop.add_reader(udp.fileno(), into)
    gc.freeze()
    loop.run_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
