"""Lists for people: laid out on a terminal, and tinc's bytes everywhere else."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pytest

from cli.vip_answers import CHECKS, FOREIGN, MEMBERS, SERVED
from cli.vip_answers import answer as vip_answer
from pytinc.control.shared import GUARD_FIELDS, format_address, format_guard
from pytinc.control.statistics import DAEMON_FIELDS, NODE_FIELDS, format_row

if TYPE_CHECKING:
    from cli.conftest import ScriptedDaemon

NODES = """\
18 3 alpha ba3ce58667ca MYSELF port 655 0 0 0 0 700000c 858 alpha alpha 0 1518 0 1518 1795377436 -1 5 418 4 356
18 3 beta 560c72de72c0 192.168.77.2 port 655 0 0 0 0 700000c 8da beta beta 1 1439 1439 1439 9 632 6 123456 4 356
18 3 delta 485d4d17037c unknown port unknown 0 0 0 0 0 20 - - -1 1518 0 1518 0 -1 0 0 0 0
18 3 far 000000000001 192.168.77.9 port 655 0 0 0 0 7000000 7a beta beta 2 1518 0 1518 9 -1 0 0 0 0
18 3 mute 000000000002 192.168.77.9 port 655 0 0 0 0 7000000 18 mute mute 2 1518 0 1518 9 1000 0 0 0 0
18 3 tcp 000000000003 fe80::1234:5678:9abc:def0 port 655 0 0 0 0 7000000 1a tcp tcp 2 1 0 1 9 1000 0 0 0 0
18 3 slow 000000000004 192.168.77.9 port 655 0 0 0 0 7000000 1a tcp slow 2 1518 0 1518 9 1000 0 0 0 0
18 3
"""  # noqa: E501
EDGES = "18 4 alpha beta 192.168.77.2 port 655 unspec port unspec 700000c 17\n18 4\n"
SUBNETS = "18 5 ff:ff:ff:ff:ff:ff (broadcast)\n18 5 10.21.0.0/16#20 alpha\n18 5\n"
CONNECTIONS = "18 6 beta 192.168.77.2 port 655 c 4 100\n18 6 <control> localhost port unix 0 15 200\n18 6\n"
ASKED = [
    "dump nodes",
    "dump edges",
    "dump subnets",
    "dump connections",
    "dump reachable nodes",
    "info beta",
    "info alpha",
    "info delta",
    "info 10.21.0.1",
]
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Asker:
    def __init__(self, daemon: ScriptedDaemon) -> None:
        daemon.answers |= {"3": NODES, "4": EDGES, "5": SUBNETS, "6": CONNECTIONS}
        self._command = [sys.executable, "-m", "pytinc", "--pidfile", daemon.pidfile]

    def _environment(self, more: dict[str, str]) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "COLUMNS": "100", "TERM": "xterm"} | more

    def piped(self, words: str, **more: str) -> str:
        done = subprocess.run(
            [*self._command, *words.split()],
            capture_output=True,
            text=True,
            env=self._environment(more),
            check=True,
            timeout=60,
        )
        return done.stdout

    def on_terminal(self, words: str, **more: str) -> str:
        """Run with a terminal for standard output; return what came there, with plain newlines."""
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [*self._command, *words.split()], stdin=theirs, stdout=theirs, env=self._environment(more)
        ) as process:
            os.close(theirs)
            seen = b""
            try:
                while data := os.read(ours, 65536):
                    seen += data
            except OSError:  # Linux tells the end of the other side so
                pass
            os.close(ours)
            assert process.wait(60) == 0
        return seen.decode().replace("\r\n", "\n")


@pytest.fixture
def ask(daemon: ScriptedDaemon) -> Asker:
    return Asker(daemon)


def test_nodes_are_laid_out_in_columns(ask: Asker) -> None:
    lines = COLOUR.sub("", ask.on_terminal("dump nodes")).splitlines()
    rows = [line.split() for line in lines if line.strip(" \u2500")]
    assert rows[0] == ["Node", "Reached", "Address", "PMTU", "RTT", "Received", "Sent"]
    assert rows[1] == ["alpha", "this", "node", "port", "655", "-", "-", "418", "B", "356", "B"]
    assert rows[2] == [
        "beta",
        "UDP",
        *["192.168.77.2", "port", "655", "1439", "0.632", "ms", "123", "KB", "356", "B"],
    ]
    assert rows[3] == ["delta", "unreachable", "-", "-", "-", "0", "B", "0", "B"]
    assert [row[1:3] for row in rows[4:8]] == [
        ["via", "beta"],
        ["unknown", "192.168.77.9"],
        ["TCP", "fe80::1234:5678:9abc:def0"],
        ["TCP", "via"],
    ]


def test_other_lists_are_laid_out_too(ask: Asker) -> None:
    edges, subnets, connections = (
        COLOUR.sub("", ask.on_terminal(f"dump {what}")) for what in ("edges", "subnets", "connections")
    )
    assert re.search(r"^alpha +beta +192\.168\.77\.2 port 655 +- +17 +pmtu", edges, re.MULTILINE)
    assert re.search(r"^10\.21\.0\.0/16#20 +alpha", subnets, re.MULTILINE)
    assert re.search(r"^beta +192\.168\.77\.2 port 655 +pmtu", connections, re.MULTILINE)


def test_colours_show_how_nodes_are_reached(ask: Asker) -> None:
    seen = ask.on_terminal("dump nodes")
    colours = {name: code for code, name in re.findall(r"^\x1b\[([0-9;]*)m(\w+)", seen, re.MULTILINE)}
    assert colours["alpha"] == "1;32"
    assert (colours["beta"], colours["delta"], colours["far"], colours["tcp"]) == ("32", "31", "33", "36")


def test_a_report_about_a_node_keeps_its_words(ask: Asker) -> None:
    seen = ask.on_terminal("info beta")
    assert COLOUR.search(seen)
    assert COLOUR.sub("", seen) == ask.piped("info beta")


@pytest.mark.parametrize(
    ("sending", "accepting", "line"),
    [
        (True, True, "Fast tag:     sending accepting\n"),
        (False, True, "Fast tag:     accepting\n"),
        (False, False, "Fast tag:     no\n"),
        (None, None, ""),
    ],
)
def test_a_report_shows_the_fast_tag_if_the_daemon_reports_it(
    ask: Asker, daemon: ScriptedDaemon, sending: bool | None, accepting: bool | None, line: str
) -> None:
    node = {"name": "beta", "fast_tag_sending": sending, "fast_tag_accepting": accepting}
    node |= {"super_frames_sending": None, "super_frames_accepting": None}
    node |= {"cipher": None, "super_frames_cipher": None}
    daemon.answers["4096"] = statistics_rows(node, {"device_offloads": []})
    assert COLOUR.sub("", ask.on_terminal("info beta")) == ask.piped("info beta") + line


@pytest.mark.parametrize(
    ("sending", "accepting", "told"),
    [(True, True, "sending accepting"), (False, True, "accepting"), (False, False, "no")],
)
def test_a_report_shows_whether_super_frames_are_sent_whole(
    ask: Asker, daemon: ScriptedDaemon, sending: bool, accepting: bool, told: str
) -> None:
    node = {"name": "beta", "fast_tag_sending": True, "fast_tag_accepting": False}
    node |= {"super_frames_sending": sending, "super_frames_accepting": accepting}
    node |= {"cipher": "chacha20-poly1305", "super_frames_cipher": "aes-256-gcm" if sending else None}
    daemon.answers["4096"] = statistics_rows(node, {"device_offloads": []})
    cipher = "chacha20-poly1305" + (" (aes-256-gcm for super-frames)" if sending else "")
    added = f"Fast tag:     sending\nSuper-frames: {told}\nCipher:       {cipher}\n"
    assert COLOUR.sub("", ask.on_terminal("info beta")) == ask.piped("info beta") + added


def test_a_report_about_the_own_node_shows_offloads(ask: Asker, daemon: ScriptedDaemon) -> None:
    node = {"name": "alpha", "fast_tag_sending": None, "fast_tag_accepting": None}
    node |= {"super_frames_sending": None, "super_frames_accepting": None}
    node |= {"cipher": None, "super_frames_cipher": None}
    daemon.answers["4096"] = statistics_rows(node, {"device_offloads": ["checksum", "TSO4"]})
    added = "Device:       checksum TSO4\nUDP:          no offloads\n"
    counts = "Requests:     15 in (3 announcements), 0 out (0 announcements)\nGraph runs:   7\n"
    assert COLOUR.sub("", ask.on_terminal("info alpha")) == ask.piped("info alpha") + added + counts
    older = daemon.answers["4096"].replace('"graph_runs":7', '"graph_runs":null')
    daemon.answers["4096"] = older
    assert COLOUR.sub("", ask.on_terminal("info alpha")) == ask.piped("info alpha") + added


def statistics_rows(node: Mapping[str, object], daemon: Mapping[str, object]) -> str:
    node = (
        dict.fromkeys(NODE_FIELDS, 5)
        | {"path": "udp", "relay": None, "drops": {}}
        | {**node, "runs_pytinc": None}
    )
    daemon = dict.fromkeys(DAEMON_FIELDS, 7) | {"udp_offloads": [], "drops": {}} | {**daemon}
    daemon |= {"requests_in": {"PING": 12, "ADD_EDGE": 3}, "requests_out": {}}
    return f"{format_row('daemon', daemon)}\n{format_row('node', node)}\n18 4096\n"


HOLDER = {"mac": "02:00:00:00:00:03", "node": "node_3", "state": "alive", "rtt_us": 632, "answered_ms": 5}
CLIENT = {"mac": "06:00:00:00:00:01", "address": "10.1.1.1", "node": "x", "holder": "02:00:00:00:00:03"}


def shared_rows() -> str:
    guard = {**dict.fromkeys(GUARD_FIELDS, 2), "enabled": True}
    silent = HOLDER | {"mac": "02:00:00:00:00:02", "node": "node_2", "state": "silent", "rtt_us": None}
    failover = {"ago_ms": 0, "reason": "silent", "from_node": "node_2", "to_node": "node_3", "silent_ms": 305}
    clients = [CLIENT | {"address": f"10.1.1.{number}", "idle_ms": 1} for number in range(1, 6)]
    told = {
        "address": "10.1.1.10",
        "shared": True,
        "holders_total": 2,
        "holders": [HOLDER | {"clients": 5}, silent | {"clients": 0}],
        "clients_total": 6,
        "clients": [*clients, CLIENT | {"address": None, "holder": None, "idle_ms": 1}],
        "failover": failover | {"took_ms": 412, "clients": 2},
    }
    used = told | {"address": "fd00::7", "shared": False, "holders": [], "failover": None}
    used |= {"holders_total": 0, "clients_total": 0, "clients": []}
    return "\n".join([format_guard(guard), format_address(told), format_address(used), "18 4097\n"])


def test_shared_addresses_are_laid_out_with_their_holders_and_clients(
    ask: Asker, daemon: ScriptedDaemon
) -> None:
    daemon.answers["4097"] = shared_rows()
    seen = ask.on_terminal("dump shared", COLUMNS="120")
    assert dict(re.findall(r"\x1b\[([0-9;]*)m(node_[23])", seen)) == {"32": "node_3", "31": "node_2"}
    rows = [line.split() for line in COLOUR.sub("", seen).splitlines()]
    assert rows[0] == ["Address", "Shared", "Held", "by", "MAC", "address", "State", "RTT", "Clients"]
    assert rows[1][:6] == ["10.1.1.10", "yes", "node_3", "02:00:00:00:00:03", "alive", "0.632"]
    assert rows[1][7:] == ["10.1.1.1", "10.1.1.2", "10.1.1.3", "+2"]
    assert rows[2] == ["node_2", "02:00:00:00:00:02", "silent", "-", "-"]
    assert rows[3] == ["-", "-", "-", "-", "06:00:00:00:00:01"]
    assert rows[4] == ["fd00::7", "no", "-", "-", "-", "-", "-"]
    assert rows[6] == ["Address", "Last", "failover", "Reason", "From", "To", "Silent", "Took", "Clients"]
    assert rows[7][3:] == ["silent", "node_2", "node_3", "0.30", "s", "0.41", "s", "2"]


def test_a_report_about_a_shared_address_keeps_its_words(ask: Asker, daemon: ScriptedDaemon) -> None:
    daemon.answers["4097"] = shared_rows()
    seen = ask.on_terminal("info 10.1.1.10")
    assert COLOUR.search(seen)
    assert without_time(COLOUR.sub("", seen)) == without_time(ask.piped("info 10.1.1.10"))


def without_time(text: str) -> str:
    """Leave out when the failover was: the second may end between two runs."""
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "then", text)


@pytest.mark.parametrize("words", ["dump shared", "info 10.1.1.10"])
def test_plain_lines_about_shared_addresses_are_the_same_everywhere(
    ask: Asker, daemon: ScriptedDaemon, words: str
) -> None:
    daemon.answers["4097"] = shared_rows()
    plain = ask.on_terminal(words, PYTINC_PLAIN="1")
    assert without_time(plain) == without_time(ask.piped(words))
    assert "\x1b" not in plain


def test_no_color_turns_colours_off(ask: Asker) -> None:
    seen = ask.on_terminal("dump nodes", NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]", seen)
    assert "Reached" in seen


@pytest.mark.parametrize("words", ASKED)
def test_plain_means_the_bytes_of_tinc(ask: Asker, words: str) -> None:
    piped = ask.piped(words)
    assert "\x1b" not in piped
    assert ask.on_terminal(words, PYTINC_PLAIN="1") == piped
    assert ask.on_terminal(words) != piped


@pytest.mark.parametrize("terminal", ["dumb", ""])
def test_a_dumb_terminal_gets_plain_lines(ask: Asker, terminal: str) -> None:
    assert ask.on_terminal("dump nodes", TERM=terminal) == ask.piped("dump nodes")


def test_batch_means_plain_lines(ask: Asker) -> None:
    assert ask.on_terminal("--batch dump nodes") == ask.piped("dump nodes")


def test_json_is_never_laid_out(ask: Asker) -> None:
    assert ask.on_terminal("dump nodes --json") == ask.piped("dump nodes --json")


def test_names_are_not_read_as_markup(ask: Asker, daemon: ScriptedDaemon) -> None:
    daemon.answers["5"] = "18 5 10.0.0.1 [bold]x[/bold]:smile:\n18 5\n"
    assert "[bold]x[/bold]:smile:" in ask.on_terminal("dump subnets")


def test_rich_is_loaded_for_a_terminal_only(daemon: ScriptedDaemon) -> None:
    daemon.answers["3"] = NODES
    program = (
        "import sys; from pytinc.cli.app import main; "
        f"main(['--pidfile', {daemon.pidfile!r}, 'dump', 'nodes']); "
        "sys.exit('rich' in sys.modules or 'json' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.DEVNULL, check=False, timeout=60)
    assert done.returncode == 0


def test_virtual_ips_are_laid_out_with_their_members(ask: Asker, daemon: ScriptedDaemon) -> None:
    daemon.answers["4098"] = vip_answer(SERVED, FOREIGN)
    seen = ask.on_terminal("vip", COLUMNS="160")
    coloured = dict(re.findall(r"\x1b\[([0-9;]*)m(alpha|node_2|node_3 fault|node_4 gone)", seen)[1:])
    assert coloured == {"32": "alpha", "1;32": "node_2", "31": "node_4 gone"}
    rows = [re.split(r"  +", line) for line in COLOUR.sub("", seen).splitlines()]
    assert rows[0][:6] == ["Address", "Served by", "This node", "Members", "Checks", "Clients"]
    assert rows[1][:6] == [
        "10.1.1.10",
        "node_2 frozen",
        "backup",
        "alpha, node_2, node_3 fault, node_4 gone",
        "1/3",
        "12",
    ]
    assert rows[1][6] == "61 s"
    assert rows[1][-1] == "alpha was drained"
    assert rows[2][:8] == ["fd00::7", "nobody", "-", "node_4 gone +39", "-", "0", "-", "-"]


def test_a_long_list_of_members_is_counted_and_checks_without_a_result_are_not_bad(
    ask: Asker, daemon: ScriptedDaemon
) -> None:
    members = [{**MEMBERS[1], "node": f"node_{number}"} for number in range(6)]
    checks = [CHECKS[0], CHECKS[2]]
    daemon.answers["4098"] = vip_answer({**SERVED, "members": members, "members_total": 6, "checks": checks})
    seen = ask.on_terminal("vip", COLUMNS="160")
    assert "node_0, node_1, node_2, node_3 +2" in COLOUR.sub("", seen)
    assert re.search(r"\x1b\[2m1/2", seen)


@pytest.mark.parametrize("words", ["vip", "vip 10.1.1.10", "vip fd00::7"])
def test_virtual_ips_have_the_same_words_in_plain_lines(
    ask: Asker, daemon: ScriptedDaemon, words: str
) -> None:
    daemon.answers["4098"] = vip_answer(SERVED, FOREIGN)
    piped = without_time(ask.piped(words))
    plain = ask.on_terminal(words, PYTINC_PLAIN="1")
    assert "\x1b" not in plain
    assert without_time(plain) == piped
    if words != "vip":
        seen = ask.on_terminal(words)
        assert COLOUR.search(seen)
        assert without_time(COLOUR.sub("", seen)) == piped


def test_texts_about_virtual_ips_are_not_read_as_markup(ask: Asker, daemon: ScriptedDaemon) -> None:
    change = {"ago_ms": 1, "state": None, "owner": None, "reason": "[bold]x[/bold]:smile:"}
    daemon.answers["4098"] = vip_answer({**SERVED, "transitions": [change]})
    assert "[bold]x[/bold]:smile:" in ask.on_terminal("vip", COLUMNS="160")
    assert "[bold]x[/bold]:smile:" in ask.on_terminal("vip 10.1.1.10")


def test_on_a_narrow_terminal_members_and_reason_are_wrapped_and_the_rest_stays_whole(
    ask: Asker, daemon: ScriptedDaemon
) -> None:
    daemon.answers["4098"] = vip_answer(SERVED, FOREIGN)
    seen = COLOUR.sub("", ask.on_terminal("vip", COLUMNS="80"))
    assert "\u2026" not in seen
    assert all(word in seen for word in ("10.1.1.10", "node_2 frozen", "backup", "1/3", "61 s", "node_3"))
