"""Sends the same bytes to tincd and to pytincd, and compares the results.

A stranger (without a key) or an insider (with one) carries out a script on a connection of its own: bytes,
lines, records, frames and datagrams. At its end the victim is asked whether it still talks with us. What it
has answered, and whether it does, must be the same for both; docs/fuzzing.md explains the known differences.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import random
import re
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from fuzz.mutate import mutations
from fuzz.registry import TESTS, Target, literals
from pytinc.crypto.keys import PrivateKey, PublicKey
from pytinc.errors import ProtocolError
from pytinc.lab.namespaces import Host, Lab
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node
from pytinc.node.sessions import udp_label
from pytinc.protocol.meta import Authenticated, MetaConnection, Received
from pytinc.protocol.sptps.datagram import DatagramSession
from pytinc.protocol.sptps.handshake import Role
from pytinc.wire import b64
from pytinc.wire.datagram import NULL_ID, TYPE_PROBE, node_id
from pytinc.wire.requests import Ack, Number

NAME: Final = "evil"
KEY: Final = PrivateKey.from_seed(b"evil" * 8)
VICTIM: Final = b"VICTIM"
"""Stands for the name of the victim."""
SILENCE_S: Final = 1.0
"""A victim that has not answered a PING for as long will not: tinc keeps the sockets of offenders open."""
MOMENT_S: Final = 0.3
"""A victim that has anything to say to a stranger says it within this time."""
DEATH_S: Final = 0.2
"""Time to die for a daemon that has crashed, and whose connections have ended already."""
OPTIONS: Final = 0x0700000C
PORT: Final = 655

_FLOODED: Final = re.compile(rb"^(1[0-4]) [0-9a-f]+ ")
"""What begins so is ignored by both if it has come before, so it gets another number each time."""

Step = tuple[str, bytes]
Script = tuple[Step, ...]
LOGIN: Final[Script] = (("login", b""), ("edge", b""))
GREETING: Final = b"0 evil 17.7\n"
KEX: Final = b"\x00\x41\x80" + bytes(65)
PROBE: Final = bytes((TYPE_PROBE,)) + bytes(18)


class Outcome(NamedTuple):
    """The result of a script at a victim."""

    talks: bool
    """An insider's PING is answered."""
    answers: frozenset[str]
    """What it said, without addresses, nonces and keys."""
    lives: bool
    """The daemon still runs."""


class Attacker:
    """One connection to a victim, whose name has as many letters as `VICTIM`."""

    def __init__(self, host: Host, victim: Node, patience: float) -> None:
        self.victim = victim
        self.patience = patience
        self.lines: list[str] = []
        self.records: list[str] = []
        self.to_stranger = 0
        """Bytes of answer before the login."""
        self.ended = self.logged_in = False
        to = (victim.host.address, PORT)
        self._tcp = host.open_socket(lambda: socket.create_connection(to, PATIENCE_S))
        self._udp = host.open_socket(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._udp.bind((host.address, PORT))
        self._udp.connect(to)
        for each in (self._tcp, self._udp):
            each.settimeout(0.005)
        public, label = public_key(victim), udp_label(NAME, victim.name)
        self.meta = MetaConnection(NAME, victim.name, KEY, lambda _: public, random.randbytes)
        self.session = DatagramSession(Role.INITIATOR, KEY, public, label, random.randbytes)

    def close(self) -> None:
        self._tcp.close()
        self._udp.close()

    def run(self, script: Script) -> Outcome:
        """Carry out a script."""
        for kind, data in script:
            self._do(kind, data.replace(VICTIM, self.victim.name.encode()))
        if self.logged_in:
            with suppress(ProtocolError):
                self.meta.send_line("8")
            self._until(lambda: "9" in self.lines, SILENCE_S)
        else:
            self._until(lambda: False, MOMENT_S)
        if self.session.can_send:
            self._until(lambda: bool(self.records), MOMENT_S)
        answers = {normal(line, self.victim.name) for line in self.lines} | set(self.records)
        if self.to_stranger:
            answers.add(f"{self.to_stranger} bytes")
        if "9" not in self.lines:
            time.sleep(DEATH_S)
        # Each asks for a key whenever it needs one.
        return Outcome("9" in self.lines, frozenset(answers - {"9", "15 VICTIM evil"}), lives(self.victim))

    def _do(self, kind: str, data: bytes) -> None:
        meta, session = self.meta, self.session
        match kind:
            case "raw":
                self._send(data)
            case "login":
                meta.connected()
                self._until(lambda: self.logged_in, PATIENCE_S)
            case "edge" if self.logged_in:
                address = self.victim.host.address
                meta.send_line(
                    f"12 {random.getrandbits(31):x} {NAME} {self.victim.name} {address} {PORT} {OPTIONS:x} 7"
                )
            case "line" if self.logged_in:
                meta._send_record(_FLOODED.sub(b"\\1 %x " % random.getrandbits(31), data) + b"\n")
            case "record" if self.logged_in and meta._session is not None:
                meta._output += meta._session._frame(data[0], data[1:])
            case "frame" if self.logged_in:
                meta.send_frame(data)
            case "packet" if self.logged_in:
                meta.send_sptps_packet(data)
            case "session" if self.logged_in:
                meta.send_line(f"15 {NAME} {self.victim.name} 15 {b64.encode(session.start()[0])}")
                self._until(lambda: session.can_send, SILENCE_S)
            case "udp" if session.can_send:
                self._send_udp(NULL_ID + node_id(NAME) + session._frame(data[0], data[1:]))
            case "datagram":
                self._send_udp(data)
        self._pump()

    def _send(self, data: bytes) -> None:
        try:
            self._tcp.sendall(data)
        except OSError:
            self.ended = True

    def _send_udp(self, data: bytes) -> None:
        with suppress(OSError):
            self._udp.send(data)

    def _until(self, holds: Callable[[], bool], seconds: float) -> None:
        end = time.monotonic() + seconds * self.patience
        while not holds() and not self.ended and time.monotonic() < end:
            self._pump()

    def _pump(self) -> None:
        """Send what is to be sent, and take what has come."""
        self._send(self.meta.take_output())
        with suppress(OSError):
            record = self.session.receive(self._udp.recv(2000)[12:])
            if record is not None and not (record.type == TYPE_PROBE and record.data[0] == 0):
                self.records.append(f"record {record.type}")
        try:
            data = self._tcp.recv(65536)
        except TimeoutError:
            return
        except OSError:
            data = b""
        self.ended = not data
        self.to_stranger += 0 if self.logged_in else len(data)
        self.meta.feed(data)
        with suppress(ProtocolError):
            while (event := self.meta.next_event()) is not None:
                self._on_event(event)
        self._send(self.meta.take_output())

    def _on_event(self, event: object) -> None:
        match event:
            case Authenticated():
                self.meta.send(Ack(str(PORT), 7, OPTIONS))
            case Received(Ack(), _):
                self.meta.activate()
                self.logged_in, self.to_stranger = True, 0
            case Received(_, line):
                self.lines.append(line)
                if line.startswith(f"{Number.PING:d}"):
                    self.meta.send_line(f"{Number.PONG:d}")
                elif line.startswith(f"16 {self.victim.name} {NAME} "):
                    self._on_key(line.split()[3])

    def _on_key(self, text: str) -> None:
        if self.session.receive_handshake(b64.decode(text)):
            for record in self.session.take_output():
                self.meta.send_line(f"16 {NAME} {self.victim.name} {b64.encode(record)} -1 -1 -1 0")


def lives(node: Node) -> bool:
    """Tell whether the daemon runs; one that has crashed may still be a zombie."""
    try:
        state = Path(f"/proc/{node.pid()}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def public_key(node: Node) -> PublicKey:
    """Return the key in a node's host file."""
    found = re.search(r"^Ed25519PublicKey *= *(\S+)$", node.host_file(), re.MULTILINE)
    assert found is not None
    return PublicKey.from_text(found[1])


def normal(line: str, victim: str) -> str:
    """Return the request in a line, with only what must be the same for all victims."""
    words = line.replace(victim, VICTIM.decode()).split()
    return " ".join([words[0], *(word for word in words[1:] if word.isalpha() and len(word) < 20)])


@contextmanager
def stand() -> Iterator[Stand]:
    """Set up a victim of each kind, and an attacker's host for each."""
    with Lab() as lab:
        network = Network(lab, [("MaxConnectionBurst", "1000")])
        for name, kind in (("tinc_c", Kind.C), ("tinc_p", Kind.PY)):
            node = network.add(name, kind)
            (node.confbase / "hosts" / NAME).write_text(f"Ed25519PublicKey = {KEY.public.text}\n")
        yield Stand([lab.host(f"attacker-{node.kind.name.lower()}") for node in network], list(network))


@dataclass
class Stand:
    """tincd and pytincd, each with an attacker's host."""

    hosts: list[Host]
    victims: list[Node]
    alike: bool = False
    """Both have done the same since they were started."""

    def compare(self, script: Script, patiences: tuple[float, ...] = (1, 5)) -> tuple[Outcome, Outcome]:
        """Carry out a script against both, more patiently if they differ and live."""
        if not self.alike:
            self.start()
        for patience in patiences:
            with ThreadPoolExecutor(2) as workers:
                run = functools.partial(outcome, script=script, patience=patience)
                one, other = workers.map(run, self.hosts, self.victims)
            self.alike = one == other
            if self.alike or not one.lives or not other.lives:
                break
        return one, other

    def start(self) -> None:
        """Start both anew, so that both know the same."""
        for victim in self.victims:
            if lives(victim):
                victim.stop()
            victim.start()


def scripts() -> Iterator[Script]:
    """Yield what the tests of requests say, as an insider's lines, with our names in place of theirs."""
    names = {b"alpha|a": NAME.encode(), b"beta|hub": VICTIM, b"gamma|b|one|two": b"third"}
    for source in ("wire/test_requests.py", "sim/test_hostile.py"):
        for line in sorted(set(literals(TESTS / source))):
            if re.match(rb"[ 0-9]+( |$)", line):
                for old, new in names.items():
                    line = re.sub(rb"\b(%b)\b" % old, new, line)
                yield *LOGIN, ("line", line)
                yield *LOGIN, ("third", b""), ("line", line)


def changed_scripts(rng: random.Random) -> Iterator[Script]:
    """Yield changed scripts without end: a stranger's and an insider's in turn."""
    hello = mutations(Target("hello", "", len, (lambda: [GREETING, GREETING + KEX],)), rng)
    lines = mutations(Target("lines", "", len, (lambda: [script[-1][1] for script in scripts()],)), rng)
    for raw, line in zip(hello, filter(None, lines), strict=True):
        yield (("raw", raw),)
        kind = rng.choice(("line", "record", "udp", "datagram"))
        yield *LOGIN, ("third", b""), ("session", b""), (kind, line), ("udp", PROBE)


def main() -> None:
    """Compare the scripts of the tests, and as many changed ones as are wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=200, help="changed scripts, besides those of the tests")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    changed = itertools.islice(changed_scripts(random.Random(options.seed)), options.cases)
    count = different = 0
    with stand() as victims:
        for script in itertools.chain(scripts(), changed):
            count += 1
            tinc, pytinc = victims.compare(script)
            if tinc != pytinc:
                different += 1
                print(f"{script}\n  tincd   {tinc}\n  pytincd {pytinc}", flush=True)
    print(f"{count} scripts, {different} of them with different outcomes")


def outcome(host: Host, victim: Node, script: Script, patience: float) -> Outcome:
    """Carry out a script against one victim."""
    attacker = Attacker(host, victim, patience)
    try:
        return attacker.run(script)
    finally:
        attacker.close()


if __name__ == "__main__":
    main()
