"""The demo's network: its shape, and who is said to answer the client."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.local import LocalHost, LocalLab
from pytinc.lab import stage
from pytinc.lab.namespaces import LabError
from pytinc.lab.node import Kind
from pytinc.lab.outage import Trace
from pytinc.lab.pulse import PLAIN
from pytinc.lab.stage import ADDRESSES, CLIENT, ENTRY, HOLDERS, VIP, Stage, roles


class FakeLab(LocalLab):
    """Remembers what is done with it."""

    closed = kept = False

    def close(self) -> None:
        self.closed = True

    def keep(self) -> None:
        self.kept = True

    def cut_off(self, host: LocalHost) -> None:
        self.commands.append((host.name, "cut off"))


class FakeWatch:
    """A probe whose pings are made up."""

    def __init__(self, *_: object) -> None:
        self.trace = Trace()
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def ask(self, question: Callable[[Trace], Any]) -> Any:
        return question(self.trace)

    def steady(self, since: float) -> bool:
        return bool(self.trace.sent)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeLab:
    made = FakeLab(tmp_path, has_keys=False)
    monkeypatch.setattr(stage, "Lab", lambda: made)
    monkeypatch.setattr(stage, "Watch", FakeWatch)
    monkeypatch.setattr(stage, "serve", lambda host, port: made.commands.append((host.name, f"serve {port}")))
    return made


@pytest.fixture
def built(lab: FakeLab) -> Stage:
    made = Stage(Kind.PY)
    made.build(lambda _: None)
    lab.commands.clear()
    return made


def feed(built: Stage, line: str) -> None:
    """Let the probe tell something."""
    built.watch.ask(lambda trace: trace.feed(line))


def believes_in(lab: FakeLab, mac: str | None) -> None:
    """Let the client's neighbour table have this MAC address."""
    line = f"{VIP} dev vpn lladdr {mac} REACHABLE\n" if mac else ""
    lab.answers["node-5", f"neigh show {VIP}"] = line


def test_the_network_has_the_shape_of_the_how_to() -> None:
    assert ADDRESSES[ENTRY] == ["10.1.1.1/24"]
    assert ADDRESSES[CLIENT] == ["10.1.1.2/24"]
    assert [ADDRESSES[name] for name in HOLDERS] == [[f"10.1.1.10{n}/24", f"{VIP}/24"] for n in (2, 3, 4)]
    assert set(roles()) == set(ADDRESSES)


def test_every_node_has_a_role_and_every_holder_has_the_virtual_address(built: Stage) -> None:
    assert [node.name for node in built.network] == list(ADDRESSES) == list(roles())
    assert built.client.name == CLIENT
    holders = {node.name for node in built.network if f"{VIP}/24" in node.addresses}
    assert holders == set(HOLDERS) == {name for name, role in roles().items() if role == "holder"}


def test_everybody_connects_to_the_entry_and_to_nobody_else(built: Stage) -> None:
    for node in built.network:
        text = (node.confbase / "tinc.conf").read_text()
        targets = [line for line in text.splitlines() if line.startswith("ConnectTo")]
        assert targets == ([] if node.name == ENTRY else [f"ConnectTo = {ENTRY}"])


def test_the_entry_starts_first_and_holders_serve(built: Stage, lab: FakeLab) -> None:
    told: list[str] = []
    built.start(told.append)
    assert lab.commands[0] == ("node-1", "start")
    assert sorted(lab.commands[1:5]) == [(f"node-{number}", "start") for number in (2, 3, 4, 5)]
    assert [host for host, what in lab.commands[5:] if what == "serve 7007"] == ["node-2", "node-3", "node-4"]
    assert told[0] == ENTRY


def test_the_answering_node_is_the_one_whose_mac_the_client_has(built: Stage, lab: FakeLab) -> None:
    believes_in(lab, built.network["node_3"].mac)
    assert built.answering() == "node_3"
    assert built.holder() is built.network["node_3"]
    believes_in(lab, "02:00:00:00:00:99")
    assert built.answering() is None


def test_without_a_neighbour_entry_nobody_answers(built: Stage, lab: FakeLab) -> None:
    believes_in(lab, None)
    assert built.answering() is None
    with pytest.raises(LabError, match=f"no MAC address for {VIP}"):
        built.holder()


def test_a_node_serves_only_while_the_client_is_served_well(built: Stage, lab: FakeLab) -> None:
    believes_in(lab, built.network["node_2"].mac)
    with pytest.raises(LabError, match="does not ping"):
        built.served_by()
    built.start_watching()
    assert built.served_by() is None
    feed(built, "ping 0 0.0\n")
    assert built.served_by() == "node_2"


def test_a_long_silence_is_shown_instead_of_a_name(
    built: Stage, lab: FakeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    believes_in(lab, built.network["node_2"].mac)
    built.start_watching()
    for number in range(100):
        feed(built, f"ping {number} {100 + number / 100}\n")
    for number in range(90):
        feed(built, f"pong {number} {100 + number / 100 + 0.001}\n")
    monkeypatch.setattr("time.monotonic", lambda: 100.9)
    assert built.line(10, PLAIN) == "##########  node_2 answers"
    monkeypatch.setattr("time.monotonic", lambda: 101.5)
    line = built.line(10, PLAIN)
    assert "silent for 0.5 s" in line
    assert "node_2" not in line


def test_only_log_lines_after_a_point_are_searched(built: Stage) -> None:
    one = built.network["node_1"]
    one.log_path.write_text("2026-01-01 00:00:00 tinc[1]: 10.1.1.10 is old\n")
    sizes = built.log_sizes()
    with one.log_path.open("a") as log:
        log.write("2026-01-01 00:00:01 tinc[1]: 10.1.1.10 is new\n2026-01-01 00:00:02 tinc[1]: other\n")
    built.network["node_4"].log_path.write_text("a line about 10.1.1.10 of another form\n")
    assert built.log_lines(sizes, "10.1.1.10") == [
        ("node_1", "10.1.1.10 is new"),
        ("node_4", "a line about 10.1.1.10 of another form"),
    ]


def test_everything_is_taken_down_at_the_end_unless_it_is_kept(lab: FakeLab) -> None:
    with Stage(Kind.PY) as first:
        first.build(lambda _: None)
        first.start_watching()
        watch = first.watch
    assert lab.closed
    assert isinstance(watch, FakeWatch)
    assert watch.closed
    second = Stage(Kind.PY)
    second.keep()
    assert (lab.kept, second.kept) == (True, True)


def test_a_node_is_cut_off_at_its_host(built: Stage, lab: FakeLab) -> None:
    built.cut(built.network["node_3"])
    assert lab.commands == [("node-3", "cut off")]
