"""Lines of the control socket: what one side writes the other reads; tinc's own examples hold."""

from __future__ import annotations

import contextlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.control.messages import (
    LOCAL_CLIENT,
    ConnectionRow,
    EdgeRow,
    Greeting,
    NodeRow,
    Options,
    Request,
    SubnetRow,
    TrafficRow,
    format_end,
    format_frame,
    format_hello,
    format_request,
    format_result,
    parse_greeting_ack,
    parse_greeting_id,
    parse_hello,
    parse_request,
    parse_result,
)
from pytinc.errors import DecodeError
from pytinc.wire.address import UNKNOWN, UNSPEC, Address
from pytinc.wire.bits import ConnectionStatus, NodeStatus, options_version

COOKIE = "9D43B81CF40ABAD0E9C3DE0F2722365FF3FEBD4CDC922AE9900DA093657CD1DE"

# Lines of a real daemon (docs/protocol-control.md, "Dumps").
SELF = (
    "18 3 alpha ba3ce58667ca MYSELF port 655 0 0 0 0 700000c 858 alpha alpha 0 1518 0 1518 "
    "1795377436 -1 9 702 7 578"
)
PEER = (
    "18 3 beta 560c72de72c0 192.168.77.2 port 655 0 0 0 0 700000c 8da beta beta 1 1439 1439 1439 "
    "1795377471 181 11 650 7 578"
)
GONE = "18 3 delta 485d4d17037c unknown port unknown 0 0 0 0 0 20 - - -1 1518 0 1518 0 -1 0 0 0 0"
EDGE = "18 4 alpha beta 192.168.77.2 port 655 192.168.77.1 port 655 700000c 1"
BARE_EDGE = "18 4 alpha beta 192.168.77.2 port 655 unspec port unspec 700000c 0"
SUBNETS = ["18 5 ff:ff:ff:ff:ff:ff (broadcast)", "18 5 10.21.0.0/16#20 alpha", "18 5 fd00:1::/64 alpha"]
CONNECTION = "18 6 beta 192.168.77.2 port 655 700000c 4 100"
CONTROL_CONNECTION = "18 6 <control> localhost port unix 0 15 200"
TRAFFIC = "18 13 beta 11 650 7 18446744073709551615"

names = st.text(string.ascii_letters + string.digits + "_", min_size=1, max_size=20)
hosts = st.one_of(st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str))
addresses = st.builds(Address, hosts, st.integers(0, 65535).map(str))
small = st.integers(0, 2**16)
counters = st.integers(0, 2**64 - 1)
bits = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("line", [SELF, PEER, GONE])
def test_a_node_line_of_a_real_daemon_survives_parsing_and_formatting(line: str) -> None:
    assert NodeRow.parse(line).format() == line


@pytest.mark.parametrize("line", [EDGE, BARE_EDGE])
def test_an_edge_line_of_a_real_daemon_survives_parsing_and_formatting(line: str) -> None:
    assert EdgeRow.parse(line).format() == line


@pytest.mark.parametrize("line", SUBNETS)
def test_a_subnet_line_of_a_real_daemon_survives_parsing_and_formatting(line: str) -> None:
    assert SubnetRow.parse(line).format() == line


@pytest.mark.parametrize("line", [CONNECTION, CONTROL_CONNECTION])
def test_a_connection_line_of_a_real_daemon_survives_parsing_and_formatting(line: str) -> None:
    assert ConnectionRow.parse(line).format() == line


def test_counters_have_sixty_four_bits() -> None:
    assert TrafficRow.parse(TRAFFIC) == TrafficRow("beta", 11, 650, 7, 2**64 - 1)
    assert TrafficRow.parse(TRAFFIC).format() == TRAFFIC


def test_the_fields_of_a_node_are_what_the_daemon_meant() -> None:
    row = NodeRow.parse(PEER)
    assert row.address == Address("192.168.77.2", "655")
    assert row.status == (
        NodeStatus.VALIDKEY
        | NodeStatus.VISITED
        | NodeStatus.REACHABLE
        | NodeStatus.SPTPS
        | NodeStatus.UDP_CONFIRMED
        | NodeStatus.HAS_ADDRESS
    )
    assert Options.CLAMP_MSS | Options.PMTU_DISCOVERY in Options(row.options)
    assert options_version(row.options) == 7
    assert (row.rtt_us, row.distance, row.tx_bytes) == (181, 1, 578)
    assert not row.is_self
    assert NodeRow.parse(SELF).is_self
    assert NodeRow.parse(GONE).address == UNKNOWN


def test_the_default_weight_of_a_subnet_is_left_out_when_parsed() -> None:
    assert SubnetRow.parse("18 5 1.2.3.4#10 a").subnet == "1.2.3.4"
    assert SubnetRow.parse("18 5 1.2.3.4#100 a").subnet == "1.2.3.4#100"


def test_a_control_connection_is_known_by_its_status() -> None:
    row = ConnectionRow.parse(CONTROL_CONNECTION)
    assert row.address == LOCAL_CLIENT
    assert row.status == ConnectionStatus.CONTROL


@given(
    st.builds(
        NodeRow,
        name=names,
        node_id=st.binary(min_size=6, max_size=6).map(bytes.hex),
        address=st.one_of(addresses, st.just(UNKNOWN), st.just(Address("MYSELF", "655"))),
        cipher=small,
        digest=small,
        mac_length=small,
        compression=small,
        options=bits,
        status=bits,
        nexthop=st.one_of(names, st.just("-")),
        via=st.one_of(names, st.just("-")),
        distance=st.integers(-1, 1000),
        pmtu=small,
        min_mtu=small,
        max_mtu=small,
        last_state_change=st.integers(0, 2**40),
        rtt_us=st.integers(-1, 2**31),
        rx_packets=counters,
        rx_bytes=counters,
        tx_packets=counters,
        tx_bytes=counters,
    )
)
def test_any_node_row_is_read_back_as_it_was(row: NodeRow) -> None:
    assert NodeRow.parse(row.format()) == row


@given(
    st.builds(
        EdgeRow, names, names, addresses, st.one_of(addresses, st.just(UNSPEC)), bits, st.integers(-9, 9999)
    )
)
def test_any_edge_row_is_read_back_as_it_was(row: EdgeRow) -> None:
    assert EdgeRow.parse(row.format()) == row


@given(st.builds(ConnectionRow, names, addresses, bits, small, bits))
def test_any_connection_row_is_read_back_as_it_was(row: ConnectionRow) -> None:
    assert ConnectionRow.parse(row.format()) == row


PARSERS = [
    NodeRow.parse,
    EdgeRow.parse,
    SubnetRow.parse,
    ConnectionRow.parse,
    TrafficRow.parse,
    parse_hello,
    parse_greeting_id,
    parse_greeting_ack,
    parse_request,
    lambda line: parse_result(line, Request.RELOAD),
]
damaged = st.tuples(
    st.sampled_from(
        [SELF, EDGE, SUBNETS[0], CONNECTION, TRAFFIC, format_hello(COOKIE), "18 1 0", "0 a 17.7"]
    ),
    st.integers(0, 120),
    st.text(max_size=3),
).map(lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + 1 :])


@pytest.mark.parametrize("parse", PARSERS)
@given(line=st.one_of(st.text(max_size=200), damaged))
def test_parsers_raise_nothing_but_decode_errors(parse: object, line: str) -> None:
    assert callable(parse)
    with contextlib.suppress(DecodeError):
        parse(line)


@pytest.mark.parametrize("line", ["18 1", "18 1 0 0", "18 2 0", "17 1 0", "", "18 1 x", "18 1 ²"])
def test_an_answer_to_another_request_is_not_a_result(line: str) -> None:
    with pytest.raises(DecodeError):
        parse_result(line, Request.RELOAD)


def test_a_request_that_is_not_implemented_has_result_minus_one() -> None:
    assert parse_result("18 -1", Request.CONNECT) == -1


def test_results_may_be_negative() -> None:
    assert parse_result(format_result(Request.DISCONNECT, -2), Request.DISCONNECT) == -2


def test_requests_and_ends_of_dumps_are_lines_of_numbers() -> None:
    assert format_request(Request.LOG, -1, 1) == "18 15 -1 1"
    assert format_request(Request.DISCONNECT, "beta") == "18 12 beta"
    assert format_end(Request.DUMP_NODES) == "18 3"


def test_an_unknown_request_number_is_left_to_the_caller() -> None:
    assert parse_request("18 99 a b") == (99, ["a", "b"])


@pytest.mark.parametrize("line", ["18", "18 x", "8 1", "x", "", "18 1x"])
def test_a_line_for_which_the_daemon_closes_is_an_error(line: str) -> None:
    with pytest.raises(DecodeError):
        parse_request(line)


def test_the_handshake_is_the_one_of_control_md() -> None:
    assert format_hello(COOKIE) == f"0 ^{COOKIE} 0"
    assert parse_hello(f"0 ^{COOKIE} 0") == COOKIE
    assert Greeting("alpha", 7, 27242).format() == "0 alpha 17.7\n4 0 27242"
    assert parse_greeting_id("0 alpha 17.7") == ("alpha", 7)
    assert parse_greeting_ack("4 0 27242") == 27242


@pytest.mark.parametrize(
    "line",
    [f"0 ^{COOKIE}", f"0 {COOKIE} 0", f"1 ^{COOKIE} 0", f"0 ^{COOKIE.lower()} 0", f"0 ^{COOKIE} 1", "0 ^ 0"],
)
def test_a_wrong_first_line_is_refused(line: str) -> None:
    with pytest.raises(DecodeError):
        parse_hello(line)


def test_a_frame_has_no_newline_after_its_payload() -> None:
    assert format_frame(Request.LOG, b"Ready") == b"18 15 5\nReady"
