"""From the text of an invitation to the files of a node.

See docs/protocol-invitations.md, "Files of a new node".
"""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.config import joined
from pytinc.config.joined import SCRIPT_START, UNCONFIGURED, JoinedNode, read_invitation
from pytinc.config.variables import VARIABLES, Variable
from pytinc.errors import ConfigError
from pytinc.wire.invitation import SEPARATOR

INVITATION = f"""\
Name = beta
NetName = mynet
ConnectTo = alpha
mode = switch
broadcast mst
Subnet = 10.0.2.0/24
{SEPARATOR}
Name = alpha
Address = 192.0.2.1
Port = 6655
Ed25519PublicKey = x
{SEPARATOR}
name=gamma
# as it is
 junk $(reboot)
"""


def read(text: str, *, force: bool = False, want_netname: bool = True) -> JoinedNode:
    return read_invitation(text, force=force, want_netname=want_netname)


def own(lines: str, *, force: bool = False) -> JoinedNode:
    return read(f"Name = beta\n{lines}\n", force=force)


def test_an_invitation_becomes_files() -> None:
    assert read(INVITATION) == JoinedNode(
        name="beta",
        netname="mynet",
        tinc_conf="Name = beta\nConnectTo = alpha\nmode = switch\nbroadcast = mst\n",
        own_host="Subnet = 10.0.2.0/24\n",
        hosts={
            "alpha": "Address = 192.0.2.1\nPort = 6655\nEd25519PublicKey = x\n",
            "gamma": "# as it is\n junk $(reboot)\n",
        },
        script=SCRIPT_START + UNCONFIGURED,
        has_commands=False,
        messages=(),
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "No Name"),
        ("\nName = beta\n", "No Name"),
        (" Name = beta\n", "No Name"),
        ("ConnectTo = alpha\nName = beta\n", "No Name"),
        ("Name\n", "Invalid Name"),
        ("Name = ../beta\n", "Invalid Name"),
        ("Name = beta beta\n", "Invalid Name"),
        ("Name = $HOST\n", "Invalid Name"),
        ("Name = beta\nName = ../../etc/passwd\n", "Invalid Name found in line 2"),
        ("Name = beta\nName = alpha-up\n", "Invalid Name found in line 2"),
        ("Name = beta\nName =\n", "Invalid Name found in line 2"),
        ("Name = beta\nName = alpha\nName = beta\n", "would overwrite our own"),
        ("Name = beta\nMode = switch\0\n", "Zero byte"),
        ("Name = beta\n#" + "x" * 1023 + "\n", "Line 2 of the invitation is longer"),
    ],
)
def test_an_invitation_that_cannot_be_used_is_refused_as_a_whole(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        read(text)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "a/b", "/etc", "a\\b", "a b", "$HOME", "a\x1bb", "a;`x`", "x\ty"],
)
def test_a_net_name_that_is_not_a_safe_directory_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="Unsafe NetName"):
        own(f"NetName = {name}")
    # Nobody looks at it where the user has chosen another.
    assert read(f"Name = beta\nNetName = {name}\n", want_netname=False).netname is None


def test_the_first_net_name_counts_wherever_it_is() -> None:
    assert read("Name = beta\nName = alpha\nNetName = there\nnetname = later\n").netname == "there"
    assert own("Mode = switch").netname is None


def test_the_own_name_may_be_repeated_in_the_own_part() -> None:
    assert own("name beta\nMode = hub").tinc_conf == "Name = beta\nMode = hub\n"


@pytest.mark.parametrize(
    "variable", [v for v in VARIABLES.values() if v.name != "Name"], ids=lambda v: v.name
)
def test_each_variable_goes_where_it_belongs_if_it_is_safe(variable: Variable) -> None:
    line = f"{variable.name} = 1\n"
    accepted = ("Name = beta\n", line) if variable.host else (f"Name = beta\n{line}", "")
    forced = own(line, force=True)
    assert (forced.tinc_conf, forced.own_host) == accepted
    node = own(line)
    if variable.safe:
        assert (node.tinc_conf, node.own_host, node.messages) == (*accepted, ())
        assert forced.messages == ()
    else:
        assert (node.tinc_conf, node.own_host) == ("Name = beta\n", "")
        assert node.messages == (f"Ignoring unsafe variable '{variable.name}' in invitation.",)
        assert forced.messages == (f"Warning: unsafe variable '{variable.name}' in invitation.",)


def test_useless_lines_are_left_out_with_or_without_a_message() -> None:
    node = own("\n# Mode = hub\n Mode = hub\n\tMode = hub\nScriptsFoo = x\nMode =\nDisableBuggyPeers = yes\r")
    assert node.tinc_conf == "Name = beta\n"
    assert node.messages == (
        "Ignoring unknown variable 'ScriptsFoo' in invitation.",
        "Ignoring variable 'Mode' without a value in invitation.",
        "Ignoring unknown variable 'DisableBuggyPeers' in invitation.",
    )


def test_messages_are_few_and_hold_nothing_that_a_terminal_acts_on() -> None:
    assert own("\x1b[2Jx\udc9b = 1").messages == ("Ignoring unknown variable '?[2Jx?' in invitation.",)
    many = own("Nothing = 1\n" * 80).messages
    assert len(many) == joined.MAX_MESSAGES + 1
    assert many[-1] == "30 more messages about the invitation are left out."


def test_odd_bytes_of_host_files_survive() -> None:
    assert read("Name = beta\nName = alpha\nAddress = \udcff\r\n").hosts == {"alpha": "Address = \udcff\r\n"}


def test_the_later_of_two_host_files_with_one_name_counts() -> None:
    text = "Name = beta\nName = alpha\nPort = 1\nName = gamma\nName = alpha\nPort = 2"
    assert read(text).hosts == {"alpha": "Port = 2\n", "gamma": ""}


def test_the_number_of_host_files_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joined, "MAX_HOSTS", 2)
    read("Name = beta\nName = a\nName = b\nName = a\n")
    with pytest.raises(ConfigError, match="More than 2"):
        read("Name = beta\nName = a\nName = b\nName = c\n")


@pytest.mark.parametrize(
    ("line", "commands"),
    [
        ("Ifconfig = dhcp", ['dhclient -nw "$INTERFACE"']),
        ("ifconfig DHCP6", ['dhclient -6 -nw "$INTERFACE"']),
        (
            "Ifconfig = slaac",
            [
                'echo 1 >"/proc/sys/net/ipv6/conf/$INTERFACE/accept_ra"',
                'echo 1 >"/proc/sys/net/ipv6/conf/$INTERFACE/autoconf"',
            ],
        ),
        ("Ifconfig = 10.1.2.3/24", ['ip addr replace 10.1.2.3/24 dev "$INTERFACE"']),
        ("Ifconfig = 10.1.2.3/24#5", ['ip addr replace 10.1.2.3/24 dev "$INTERFACE"']),
        ("Ifconfig = 10.1.2.3", ['ip addr replace 10.1.2.3 dev "$INTERFACE"']),
        ("Ifconfig = fd00:0::1/64", ['ip addr replace fd00::1/64 dev "$INTERFACE"']),
        ("Ifconfig = 02:00:00:00:00:01", []),
        ("Route = 10.0.0.0/8", ['ip route add 10.0.0.0/8 dev "$INTERFACE"']),
        ("Route = 10.0.0.0/8 10.1.2.1/24", ['ip route add 10.0.0.0/8 via 10.1.2.1 dev "$INTERFACE" onlink']),
        ("Route = fd00::/8\tfd01::1", ['ip route add fd00::/8 via fd01::1 dev "$INTERFACE" onlink']),
    ],
)
def test_addresses_and_routes_become_commands(line: str, commands: list[str]) -> None:
    node = own(line)
    assert node.messages == ()
    assert node.has_commands == bool(commands)
    expected = "".join(f"{command}\n" for command in commands) or UNCONFIGURED
    assert node.script == SCRIPT_START + expected


@pytest.mark.parametrize(
    "line",
    [
        "Ifconfig = $(reboot)",
        "Ifconfig = 10.0.0.1; reboot",
        "Ifconfig = 10.0.0.1/24 && reboot",
        "Ifconfig = 10.0.0.1/24#$(reboot)",
        "Ifconfig = dhcp; reboot",
        'Ifconfig = dhcp "x',
        "Ifconfig = fe80::1%$(reboot)",
        "Ifconfig =",
        "Route =",
        "Route = default",
        "Route = 10.0.0.0/8 `reboot`",
        "Route = 10.0.0.0/8 10.0.0.1 dev eth0",
        "Route = 10.0.0.0/8 fd00::1",
        "Route = 10.0.0.0/33",
        "Route = 02:00:00:00:00:01",
        "Route = 10.0.0.0/8 02:00:00:00:00:01",
    ],
)
def test_nothing_else_reaches_the_script(line: str) -> None:
    node = own(line, force=True)
    assert node.script == SCRIPT_START + UNCONFIGURED
    assert not node.has_commands
    (message,) = node.messages
    assert message.startswith(f"Ignoring line 2 of the invitation, {line.split()[0]}: ")


COMMAND = re.compile(
    r'dhclient (?:-6 )?-nw "\$INTERFACE"'
    r'|echo 1 >"/proc/sys/net/ipv6/conf/\$INTERFACE/(?:accept_ra|autoconf)"'
    r'|ip addr replace [0-9a-f.:/]+ dev "\$INTERFACE"'
    r'|ip route add [0-9a-f.:/]+ (?:via [0-9a-f.:]+ )?dev "\$INTERFACE"(?: onlink)?',
    re.ASCII,
)
PIECES = st.sampled_from(
    ["10.0.0.1", "/8", "fd00::1", "/64", " ", "\t", "#", ";", "$(x)", "`x`", '"', "'", "\r", "%", "dhcp", "&"]
)


@given(st.sampled_from(["Ifconfig", "Route"]), st.lists(PIECES | st.text(max_size=3), max_size=8))
def test_the_script_holds_only_known_commands(variable: str, pieces: list[str]) -> None:
    with contextlib.suppress(ConfigError):
        node = own(f"{variable} = {''.join(pieces)}")
        if node.has_commands:
            for line in node.script.removeprefix(SCRIPT_START).splitlines():
                assert COMMAND.fullmatch(line)


@given(st.text(), st.booleans())
def test_any_text_is_a_configuration_or_a_config_error(text: str, force: bool) -> None:
    for candidate in (text, f"Name = beta\n{text}", f"Name = beta\nName = alpha\n{text}"):
        with contextlib.suppress(ConfigError):
            node = read(candidate, force=force)
            assert all(re.fullmatch(r"\w+", name, re.ASCII) for name in (node.name, *node.hosts))
