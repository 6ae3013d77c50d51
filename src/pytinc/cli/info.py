"""info: a report about a node, or who owns a subnet or an address (docs/tinc-program.md, "dump and info")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from pytinc.cli.lists import dump_edges, dump_nodes, dump_subnets, subnet_of
from pytinc.cli.reach import Reach, reach_of
from pytinc.cli.times import local_time, milliseconds
from pytinc.control.messages import NodeRow, Options, SubnetRow
from pytinc.errors import DecodeError
from pytinc.wire.bits import NodeStatus, options_version
from pytinc.wire.names import is_valid_name
from pytinc.wire.subnet import Subnet, SubnetKind, parse_subnet
from pytinc.wire.version import PROTOCOL_MAJOR

if TYPE_CHECKING:
    from pytinc.cli.neighbours import Neighbour
    from pytinc.cli.session import Session
    from pytinc.control.client import ControlClient
    from pytinc.control.objects import Values
    from pytinc.control.statistics import Statistics

_STATUS = (
    NodeStatus.VALIDKEY,
    NodeStatus.VISITED,
    NodeStatus.REACHABLE,
    NodeStatus.INDIRECT,
    NodeStatus.SPTPS,
    NodeStatus.UDP_CONFIRMED,
)
_OPTIONS = (Options.INDIRECT, Options.TCPONLY, Options.PMTU_DISCOVERY, Options.CLAMP_MSS)

_ANNOUNCEMENTS: Final = ("ADD_SUBNET", "DEL_SUBNET", "ADD_EDGE", "DEL_EDGE")
"""Requests that go to all nodes of the mesh."""
_REACH: Final = {
    Reach.SELF: "can reach itself",
    Reach.UNREACHABLE: "unreachable",
    Reach.RELAYED: "indirectly via ",
    Reach.UNKNOWN: "unknown",
    Reach.UDP: "directly with UDP",
    Reach.TCP: "directly with TCP",
    Reach.FORWARDED: "none, forwarded via ",
}


def info(session: Session, words: list[str]) -> int:
    """Report on the named node, subnet or address."""
    item = words[0]
    client = session.client()
    if is_valid_name(item):
        return _info_node(session, client, item)
    if "." in item or ":" in item:
        return _info_subnet(session, client, item)
    raise click.ClickException("Argument is not a node name, subnet or address.")


def _info_node(session: Session, client: ControlClient, name: str) -> int:
    row = next((row for row in dump_nodes(client) if row.name == name), None)
    if row is None:
        raise click.ClickException(f"Unknown node {name}.")
    edges = [edge.to_name for edge in dump_edges(client) if edge.from_name == name]
    subnets = [subnet.subnet for subnet in dump_subnets(client) if subnet.owner == name]
    if session.json:
        from pytinc.cli import machine
        from pytinc.cli.statistics import statistics

        added = machine.statistics_of(row, statistics(client))
        machine.print_json({"kind": "node", **machine.node(row), "edges": edges, "subnets": subnets, **added})
        return 0
    report = [*node_report(row), _list("Edges:", edges), _list("Subnets:", subnets)]
    if session.pretty:
        from pytinc.cli.statistics import statistics
        from pytinc.cli.tables import print_report

        print_report(report + _statistics_lines(row, statistics(client)), reach_of(row))
    else:
        print("\n".join(report))
    return 0


def node_report(row: NodeRow) -> list[str]:
    """Return the lines about the node itself."""
    reachable = bool(row.status & NodeStatus.REACHABLE)
    seen = "Online since:" if reachable else "Last seen:"
    return [
        f"Node:         {row.name}",
        f"Node ID:      {row.node_id}",
        f"Address:      {row.address}",
        f"{seen:<13} {_when(row.last_state_change)}",
        _list("Status:", [_word(bit) for bit in _STATUS if row.status & bit]),
        _list("Options:", [_word(bit) for bit in _OPTIONS if row.options & bit]),
        f"Protocol:     {PROTOCOL_MAJOR}.{options_version(row.options)}",
        *_reachability(row),
        f"RX:           {row.rx_packets} packets  {row.rx_bytes} bytes",
        f"TX:           {row.tx_packets} packets  {row.tx_bytes} bytes",
    ]


def _statistics_lines(row: NodeRow, statistics: Statistics | None) -> list[str]:
    """Return what pytinc's daemon reports in addition, for people at a terminal."""
    if statistics is None:
        return []
    if row.is_self:
        daemon = statistics.daemon
        return [
            _list("Device:", daemon["device_offloads"] or ["no offloads"]),
            _list("UDP:", daemon["udp_offloads"] or ["no offloads"]),
            *_request_lines(daemon),
        ]
    node = statistics.nodes.get(row.name)
    if node is None or node["fast_tag_sending"] is None:
        return []
    lines = [_list("Fast tag:", _ways(node, "fast_tag"))]
    if node["super_frames_sending"] is not None:
        lines.append(_list("Super-frames:", _ways(node, "super_frames")))
    if node["cipher"] is not None:
        whole = node["super_frames_cipher"]
        more = [] if whole in (None, node["cipher"]) else [f"({whole} for super-frames)"]
        lines.append(_list("Cipher:", [node["cipher"], *more]))
    return lines


def _request_lines(daemon: Mapping[str, Any]) -> list[str]:
    """Return how busy the meta connections are; nothing of a daemon that does not count."""
    if daemon["requests_in"] is None or daemon["requests_out"] is None or daemon["graph_runs"] is None:
        return []
    told = []
    for way in ("in", "out"):
        counts = daemon[f"requests_{way}"]
        about_mesh = sum(count for name, count in counts.items() if name in _ANNOUNCEMENTS)
        told.append(f"{sum(counts.values())} {way} ({about_mesh} announcements)")
    return [f"Requests:     {', '.join(told)}", f"Graph runs:   {daemon['graph_runs']}"]


def _ways(node: Mapping[str, Any], what: str) -> list[str]:
    return [way for way in ("sending", "accepting") if node[f"{what}_{way}"]] or ["no"]


def _reachability(row: NodeRow) -> list[str]:
    reach = reach_of(row)
    how = _REACH[reach]
    if reach is Reach.RELAYED:
        how += row.via
    elif reach is Reach.FORWARDED:
        how += row.nexthop
    lines = [f"Reachability: {how}"]
    if reach is Reach.UDP:
        lines.append(f"PMTU:         {row.pmtu}")
        if row.rtt_us != -1:
            lines.append(f"RTT:          {milliseconds(row.rtt_us)}")
    return lines


def _when(seconds: int) -> str:
    return "never" if seconds == 0 else local_time(seconds, "%Y-%m-%d %H:%M:%S")


def _word(bit: NodeStatus | Options) -> str:
    return str(bit.name).lower()


def _list(label: str, items: list[str]) -> str:
    return f"{label:<13}" + "".join(f" {item}" for item in items)


def _info_subnet(session: Session, client: ControlClient, item: str) -> int:
    try:
        wanted = parse_subnet(item)
    except DecodeError as error:
        raise click.ClickException(f"Could not parse subnet or address '{item}'.") from error
    is_subnet = "/" in item
    found = []
    rows = [(row, subnet_of(row)) for row in dump_subnets(client)]
    for row, subnet in rows:
        if _matches(subnet, wanted, exactly=is_subnet) and (
            "#" not in item or subnet.weight == wanted.weight
        ):
            found.append(row)
    known = virtual = neighbour = None
    hint = ""
    if not is_subnet and "#" not in item:
        from pytinc.cli import owners
        from pytinc.cli.shared import find_shared, shared_addresses

        told = None if wanted.kind is SubnetKind.MAC else shared_addresses(client)
        if told is not None:  # else it is no daemon of pytinc
            known, virtual = find_shared(told, wanted), owners.find_virtual(client, wanted)
        if not found and known is None and virtual is None:
            neighbour, found, hint = owners.find_neighbour(session, rows, wanted, item)
    if not found and known is None and virtual is None:
        text = f"Unknown {'subnet' if is_subnet else 'address'} {item}."
        raise click.ClickException(f"{text}\n{hint}" if hint else text)
    if session.json:
        from pytinc.cli import machine

        document = machine.owners(found, known, virtual)
        if neighbour is not None and neighbour.mac is not None:
            document |= {"mac": neighbour.mac.hex(":"), "interface": neighbour.interface}
        machine.print_json(document)
        return 0
    _print_owners(session, found, neighbour)
    if virtual is not None:
        _print_virtual(session, virtual)
    if known is not None:
        _print_shared(session, known)
    return 0


def _print_owners(session: Session, found: list[SubnetRow], neighbour: Neighbour | None) -> None:
    if session.pretty:
        from pytinc.cli.tables import print_list

        if found:
            print_list("subnets", found)
    else:
        for row in found:
            print(f"Subnet: {row.subnet}\nOwner:  {row.owner}")
    if neighbour is not None:
        whose = "this host's own address" if neighbour.is_own else "neighbour table of this host"
        print(f"Found:  {whose}, interface {neighbour.interface}")


def _print_virtual(session: Session, known: Values) -> None:
    from pytinc.cli.vip_report import report

    lines = report(known)
    if session.pretty:
        from pytinc.cli.tables import print_vip_report

        print_vip_report(lines, known)
    else:
        print("\n".join(lines))


def _print_shared(session: Session, known: Values) -> None:
    from pytinc.cli.shared import address_report

    report = address_report(known)
    if session.pretty:
        from pytinc.cli.tables import print_shared_report

        print_shared_report(report, known)
    else:
        print("\n".join(report))


def _matches(subnet: Subnet, wanted: Subnet, *, exactly: bool) -> bool:
    if subnet.kind != wanted.kind:
        return False
    if subnet.kind is SubnetKind.MAC:
        return subnet.address == wanted.address
    if exactly:
        return (subnet.prefix, subnet.address) == (wanted.prefix, wanted.address)
    return subnet.contains(wanted.address)
