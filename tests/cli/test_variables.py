"""get, set, add, del: which file, which checks. What happens to the text is tested with `config.edit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from pytinc.cli.variables import Target, parse_target

if TYPE_CHECKING:
    from cli.conftest import Run, ScriptedDaemon


@pytest.mark.parametrize(
    ("words", "target"),
    [
        (["Mode", "switch"], Target(None, "Mode", "switch")),
        (["Mode=switch"], Target(None, "Mode", "switch")),
        (["Mode", "=", "switch"], Target(None, "Mode", "switch")),
        (["Mode\t=\t", "x", "y "], Target(None, "Mode", "x y")),
        (["a==b"], Target(None, "a", "=b")),
        (["beta.Port"], Target("beta", "Port", "")),
        (["a.b.c", "d"], Target("a", "b.c", "d")),
        ([".Port"], Target("", "Port", "")),
    ],
)
def test_words_are_split_at_the_first_blank_or_equals_sign(words: list[str], target: Target) -> None:
    assert parse_target(words) == target


@pytest.mark.parametrize("words", [["=x"], ["beta."], [" x"], ["beta.=x"], [""]])
def test_a_variable_is_needed(words: list[str]) -> None:
    with pytest.raises(click.ClickException, match="No variable given"):
        parse_target(words)


def test_the_words_after_the_verb_have_a_limit() -> None:
    assert len(parse_target(["Mode", "x" * 5000]).value) == 4095 - len("Mode ")


@pytest.mark.parametrize(
    ("assignment", "file"),
    [
        ("Mode hub", "tinc.conf"),
        ("ClampMSS no", "tinc.conf"),
        ("Subnet 10.0.0.0/8", "hosts/alpha"),
        ("Port 7", "hosts/alpha"),
        ("beta.Port 7", "hosts/beta"),
        ("beta.ClampMSS no", "hosts/beta"),
    ],
)
def test_a_variable_goes_where_it_belongs(run: Run, conf: Path, assignment: str, file: str) -> None:
    name, value = assignment.split()
    assert run("-c", "conf", "set", name, value) == (0, "", "")
    line = f"{name.rpartition('.')[2]} = {value}\n"
    assert (conf / file).read_text().endswith(line)


def test_a_malformed_subnet_is_refused(run: Run, conf: Path) -> None:
    before = (conf / "hosts/alpha").read_text()
    for words in (["set", "Subnet", "junk"], ["add", "Subnet", "junk"], ["del", "subnet", "junk"]):
        assert run("-c", "conf", *words) == (1, "", "Malformed subnet definition junk\n")
    assert (conf / "hosts/alpha").read_text() == before


@pytest.mark.parametrize("verb", ["set", "add"])
@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("Mode", "swtich", "Invalid routing mode!"),
        ("MaxTimeout", "0", "MaxTimeout cannot be smaller than 1!"),
        ("Port", "none", "There is no UDP port none."),
        ("Compression", "13", "Bogus compression level 13: it is 0 (none) to 12."),
    ],
)
def test_a_value_with_which_the_daemon_does_not_start_needs_force(
    run: Run, conf: Path, verb: str, variable: str, value: str, complaint: str
) -> None:
    result = run("-c", "conf", verb, variable, value)
    assert (result.status, result.err) == (1, f"{complaint} Use --force to use it anyway.\n")
    assert run("-c", "conf", "--force", verb, variable, value) == (
        0,
        "",
        f"Warning: {complaint.removesuffix('.')}\n",
    )
    assert run("-c", "conf", "get", variable).out == f"{value}\n"


def test_a_device_type_may_be_set_before_the_device_that_it_needs(run: Run, conf: Path) -> None:
    assert run("-c", "conf", "set", "DeviceType", "multicast") == (0, "", "")


@pytest.mark.parametrize("host", ["", "beta."])
def test_a_value_that_the_daemon_ignores_is_set_with_a_warning(run: Run, conf: Path, host: str) -> None:
    result = run("-c", "conf", "set", f"{host}Weight", "heavy")
    assert result == (0, "", "Warning: Integer expected for configuration variable Weight\n")


def test_the_own_host_file_needs_a_name(run: Run, conf: Path) -> None:
    (conf / "tinc.conf").write_text("Mode = hub\n")
    assert run("-c", "conf", "set", "Port", "5") == (1, "", "Could not find Name in conf/tinc.conf.\n")
    (conf / "tinc.conf").write_text("Name = a-b\n")
    assert run("-c", "conf", "set", "Port", "5").status == 1


def test_mode_and_owner_of_a_file_are_kept(run: Run, conf: Path) -> None:
    (conf / "tinc.conf").chmod(0o640)
    assert run("-c", "conf", "set", "Mode", "hub").status == 0
    assert (conf / "tinc.conf").stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in conf.iterdir()) == ["cache", "ed25519_key.priv", "hosts", "tinc.conf"]


def test_any_bytes_survive(run: Run, conf: Path) -> None:
    (conf / "tinc.conf").write_bytes(b"# caf\xe9 \xc2\x85 \x0c\r\nName = alpha\r\n")
    assert run("-c", "conf", "add", "ConnectTo", "beta").status == 0
    assert (conf / "tinc.conf").read_bytes() == (
        b"# caf\xe9 \xc2\x85 \x0c\r\nName = alpha\r\nConnectTo = beta\n"
    )


def test_the_port_is_the_one_in_use_if_a_daemon_runs(run: Run, conf: Path, daemon: ScriptedDaemon) -> None:
    (conf / "hosts/alpha").write_text("Port = 0\n")
    options = ("-c", "conf", "--pidfile", daemon.pidfile)
    assert run(*options, "get", "Port") == (0, "7777\n", "")
    assert run(*options, "get", "alpha.port").out == "7777\n"
    assert run(*options, "get", "gamma.Port").out == "6550\n"


def test_the_port_is_the_configured_one_without_a_daemon(run: Run, conf: Path) -> None:
    (conf / "hosts/alpha").write_text("Port = 0\n")
    result = run("-c", "conf", "get", "Port")
    assert result.out == "0\n"
    assert result.err.startswith("Could not open pid file")
    # A stale pid file tells nothing either.
    (conf / "pid").write_text(f"{2**22 + 1} {'AB' * 32} 127.0.0.1 port 7777\n")
    assert run("-c", "conf", "get", "Port").out == "0\n"


def test_a_change_makes_the_daemon_reload(run: Run, conf: Path, daemon: ScriptedDaemon) -> None:
    daemon.answers["1"] = "18 1 22\n"
    assert run("-c", "conf", "add", "ConnectTo", "beta") == (0, "", "")
    assert daemon.requests == ["18 1"]
    # Nothing changes: nothing is told.
    assert run("-c", "conf", "add", "ConnectTo", "beta") == (0, "", "")
    assert run("-c", "conf", "get", "ConnectTo") == (0, "beta\n", "")
    assert daemon.requests == ["18 1"]


# -- virtual IPs --


def lines_of(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.startswith("VirtualIP")]


def test_a_virtual_ip_is_added_read_and_removed(run: Run, conf: Path) -> None:
    line = "10.1.1.10/24 priority=150 check=tcp:80"
    assert run("-c", "conf", "add", "VirtualIP", *line.split()) == (0, "", "")
    assert run("-c", "conf", "add", "virtualip", "fd00:1::10") == (0, "", "")
    assert run("-c", "conf", "get", "VirtualIP") == (0, f"{line}\nfd00:1::10\n", "")
    assert run("-c", "conf", "del", "VirtualIP", "fd00:1:0::10") == (0, "", "")
    assert lines_of(conf / "tinc.conf") == [f"VirtualIP = {line}"]
    assert run("-c", "conf", "del", "VirtualIP", "10.1.1.10") == (0, "", "")
    assert lines_of(conf / "tinc.conf") == []


def test_permitted_addresses_go_to_the_nodes_host_file(run: Run, conf: Path) -> None:
    for node in ("alpha", "beta"):
        assert run("-c", "conf", "add", f"{node}.VirtualIP", "10.1.1.10") == (0, "", "")
        assert lines_of(conf / "hosts" / node) == ["VirtualIP = 10.1.1.10"]
    assert lines_of(conf / "tinc.conf") == []
    assert run("-c", "conf", "del", "beta.VirtualIP", "10.1.1.10") == (0, "", "")
    assert lines_of(conf / "hosts/beta") == []
    result = run("-c", "conf", "add", "beta.VirtualIP", "10.1.1.10/24")
    assert (result.status, result.out) == (1, "")
    assert result.err.startswith("Malformed virtual IP: 10.1.1.10/24 is more than an address")


@pytest.mark.parametrize("verb", ["add", "set", "get"])
def test_a_malformed_virtual_ip_is_refused(run: Run, conf: Path, verb: str) -> None:
    before = (conf / "tinc.conf").read_text()
    result = run("-c", "conf", verb, "VirtualIP", "10.1.1.10", "prio=5")
    assert (result.status, result.out) == (1, "")
    assert result.err == ("Malformed virtual IP: prio is not a key of a virtual IP, did you mean priority?\n")
    assert (conf / "tinc.conf").read_text() == before


def test_a_second_line_for_an_address_is_refused_with_advice(run: Run, conf: Path) -> None:
    assert run("-c", "conf", "add", "VirtualIP", "10.1.1.10/24 priority=5").status == 0
    assert run("-c", "conf", "add", "VirtualIP", "10.1.1.10/24 PRIORITY=5") == (0, "", "")
    result = run("-c", "conf", "add", "VirtualIP", "10.1.1.10")
    assert (result.status, result.out) == (1, "")
    assert "already: VirtualIP = 10.1.1.10/24 priority=5\n" in result.err
    assert "Change it with `set'" in result.err
    assert lines_of(conf / "tinc.conf") == ["VirtualIP = 10.1.1.10/24 priority=5"]


@pytest.mark.parametrize("verb", ["set", "get"])
def test_set_changes_the_line_of_one_address_and_no_other(run: Run, conf: Path, verb: str) -> None:
    for line in ("fd00::1", "10.1.1.10/24 rise=1", "10.1.1.11"):
        run("-c", "conf", "add", "VirtualIP", line)
    assert run("-c", "conf", verb, "VirtualIP", "10.1.1.10", "priority=7") == (0, "", "")
    assert run("-c", "conf", verb, "VirtualIP", "10.1.1.12") == (0, "", "")
    assert lines_of(conf / "tinc.conf") == [
        "VirtualIP = fd00::1",
        "VirtualIP = 10.1.1.10 priority=7",
        "VirtualIP = 10.1.1.11",
        "VirtualIP = 10.1.1.12",
    ]


def test_set_replaces_all_that_a_host_file_allows(run: Run, conf: Path) -> None:
    run("-c", "conf", "add", "beta.VirtualIP", "10.1.1.10")
    result = run("-c", "conf", "set", "beta.VirtualIP", "10.1.1.11")
    assert result == (0, "", "Warning: removing VirtualIP = 10.1.1.10\n")
    assert lines_of(conf / "hosts/beta") == ["VirtualIP = 10.1.1.11"]


def test_a_bad_line_can_be_removed(run: Run, conf: Path) -> None:
    (conf / "tinc.conf").write_text("Name = alpha\nVirtualIP = nonsense\nVirtualIP = 10.1.1.10 prio=5\n")
    assert run("-c", "conf", "del", "VirtualIP", "nonsense") == (0, "", "")
    assert run("-c", "conf", "del", "VirtualIP", "10.1.1.11").status == 1
    assert run("-c", "conf", "del", "VirtualIP", "10.1.1.10") == (0, "", "")
    assert (conf / "tinc.conf").read_text() == "Name = alpha\n"


def test_all_are_removed_together(run: Run, conf: Path) -> None:
    (conf / "tinc.conf").write_text("Name = alpha\nVirtualIP = 10.1.1.10\nVirtualIP = 10.1.1.11 rise=1\n")
    assert run("-c", "conf", "del", "VirtualIP") == (0, "", "")
    assert (conf / "tinc.conf").read_text() == "Name = alpha\n"


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["VirtualIP", "10.1.1.10", "text=all is well"], '10.1.1.10 text="all is well"'),
        (["VirtualIP=10.1.1.10", 'Text=say "hi" \\o/'], r'10.1.1.10 Text="say \"hi\" \\o/"'),
        (["VirtualIP", 'text="all is well"'], 'text="all is well"'),
        (["a.virtualip", "text=ok", "fall=1 2"], "text=ok fall=1 2"),
        (["VirtualIP", "10.1.1.10 text=a b"], "10.1.1.10 text=a b"),
        (["VirtualIPs", "text=a b"], "text=a b"),
        (["Proxy", "exec", "text=a b"], "exec text=a b"),
    ],
)
def test_quotes_that_the_shell_has_taken_from_a_text_are_put_back(words: list[str], value: str) -> None:
    assert parse_target(words).value == value


def test_a_line_about_another_node_stands_beside_that_of_this_node(run: Run, conf: Path) -> None:
    own, ward = "10.1.1.10 priority=5", "10.1.1.10 node=beta check=tcp:10.1.1.102:80"
    for line in (own, ward):
        assert run("-c", "conf", "add", "VirtualIP", *line.split()) == (0, "", "")
    assert run("-c", "conf", "add", "VirtualIP", "10.1.1.10", "node=beta").status == 1
    changed = "10.1.1.10 node=beta priority=9"
    assert run("-c", "conf", "set", "VirtualIP", *changed.split()) == (0, "", "")
    assert lines_of(conf / "tinc.conf") == [f"VirtualIP = {own}", f"VirtualIP = {changed}"]
    assert run("-c", "conf", "del", "VirtualIP", "10.1.1.10", "node=gamma").status == 1
    assert run("-c", "conf", "del", "VirtualIP", "10.1.1.10", "node=beta") == (0, "", "")
    assert lines_of(conf / "tinc.conf") == [f"VirtualIP = {own}"]
