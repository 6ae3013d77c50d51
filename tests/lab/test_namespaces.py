from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytinc.lab import namespaces
from pytinc.lab.echo import answers, wait_steady
from pytinc.lab.namespaces import Faults, Lab, LabError, Record, missing_means, process_start, run, sweep

ADDRESSES = {"a": "192.0.2.1", "b-1": "192.0.2.2"}


def test_without_faults_the_switch_has_a_chain_without_rules_for_each_port() -> None:
    text = Faults().ruleset(ADDRESSES)
    assert 'device "a"' in text
    assert 'device "b-1"' in text
    assert "chain from_b_1" in text
    assert "drop" not in text


def test_blocked_udp_is_dropped_in_both_directions_and_nothing_else() -> None:
    faults = Faults()
    faults.udp_blocked.add(frozenset(("a", "b-1")))
    rules = [line.strip() for line in faults.ruleset(ADDRESSES).splitlines() if line.endswith("drop")]
    assert rules == [
        "ip saddr 192.0.2.1 ip daddr 192.0.2.2 meta l4proto udp drop",
        "ip saddr 192.0.2.2 ip daddr 192.0.2.1 meta l4proto udp drop",
    ]


def test_a_host_that_is_cut_off_neither_sends_nor_receives() -> None:
    faults = Faults()
    faults.cut_off.add("a")
    lines = [line.strip() for line in faults.ruleset(ADDRESSES).splitlines() if line.endswith("drop")]
    assert lines == ["drop", "ip daddr 192.0.2.1 drop"]


def test_a_muted_host_sends_nothing_and_receives() -> None:
    faults = Faults()
    faults.muted.add("b-1")
    lines = [line.strip() for line in faults.ruleset(ADDRESSES).splitlines()]
    assert lines[lines.index("chain from_b_1 {") + 2] == "drop"
    assert lines.count("drop") == 1


def test_a_command_that_fails_raises_with_its_output() -> None:
    with pytest.raises(LabError, match="status 3\nsorry"):
        run("sh", "-c", "echo sorry; exit 3")
    assert run("sh", "-c", "exit 3", check=False).returncode == 3


def test_a_missing_or_endless_command_raises() -> None:
    with pytest.raises(LabError, match="not installed"):
        run("no-such-program")
    with pytest.raises(LabError, match="no end after"):
        run("sleep", "5", timeout=0.05)


@pytest.fixture
def records_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(namespaces, "RECORDS", tmp_path / "records")
    return tmp_path / "records"


def test_a_record_is_read_back_and_its_owner_recognised(records_directory: Path) -> None:
    record = Record("pt1", os.getpid(), "/tmp/pt1-x", ["pt1-switch", "pt1-a"])
    record.write()
    again = Record.read(record.path)
    assert again is not None
    assert again.__dict__ == record.__dict__
    assert not again.is_abandoned()
    again.started = "1"
    assert again.is_abandoned(), "the pid now belongs to another process"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"tag": "pt1", "pid": 1, "directory": "/", "namespaces": ["init"], "kept": false, "started": "1"}',
    ],
)
def test_a_record_that_is_damaged_or_names_foreign_things_is_ignored(
    records_directory: Path, text: str
) -> None:
    records_directory.mkdir()
    (records_directory / "pt1.json").write_text(text)
    assert namespaces.records() == []


def test_sweeping_leaves_the_labs_of_living_processes_and_kept_ones_alone(
    records_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed: list[str] = []
    monkeypatch.setattr(Record, "remove_all", lambda record: removed.append(record.tag))
    Record("pt1", os.getpid(), "/tmp/pt1-x", []).write()
    for tag, kept in (("pt2", False), ("pt3", True)):
        Record(tag, os.getpid(), f"/tmp/{tag}-x", [], kept=kept).write()
        path = records_directory / f"{tag}.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "started": "1"}))
    assert sweep() == removed == ["pt2"]
    removed.clear()
    assert sweep(kept=True) == removed == ["pt2", "pt3"]


def test_a_process_is_identified_by_its_start_time() -> None:
    own = process_start(os.getpid())
    assert own is not None
    assert own == process_start(os.getpid())
    assert own != process_start(1)
    assert process_start(2**22 + 1) is None


@pytest.fixture
def _means() -> None:
    means = missing_means()
    if means is not None:
        pytest.skip(means)


def namespaces_there() -> set[str]:
    return set(run("ip", "netns", "list").stdout.split())


@pytest.mark.namespaces
@pytest.mark.usefixtures("_means")
class TestRealLab:
    def test_hosts_reach_each_other_until_one_is_cut_off(self) -> None:
        with Lab() as lab:
            one, other = lab.host("one"), lab.host("other")
            wait_steady(one, other.address)
            lab.cut_off(other)
            assert not answers(one, other.address, wait=0.3)
            lab.reconnect(other)
            wait_steady(one, other.address)

    def test_nothing_is_left_when_the_block_fails(self) -> None:
        with contextlib.suppress(RuntimeError), Lab() as lab:
            host = lab.host("one")
            sleeper = host.spawn("sleep", "1000")
            raise RuntimeError
        assert sleeper.poll() is not None
        assert not {host.namespace, lab.switch} & namespaces_there()
        assert not lab.directory.exists()

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
    def test_nothing_is_left_after_a_signal(self, number: signal.Signals) -> None:
        script = (
            "import time\nfrom pytinc.lab.namespaces import Lab\n"
            "with Lab() as lab:\n"
            "    lab.host('one').spawn('sleep', '1000')\n"
            "    print(lab.tag, flush=True)\n"
            "    time.sleep(100)\n"
        )
        with subprocess.Popen(
            (sys.executable, "-c", script), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdout is not None
            tag = process.stdout.readline().strip()
            assert f"{tag}-one" in namespaces_there()
            process.send_signal(number)
            process.wait(60)
        if number is signal.SIGKILL:
            assert tag in sweep(), "nobody can act on SIGKILL: the next lab sweeps"
        deadline = time.monotonic() + 60
        while f"{tag}-one" in namespaces_there() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not [name for name in namespaces_there() if name.startswith(f"{tag}-")]
