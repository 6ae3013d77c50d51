"""Targets: what turns bytes and text from outside into values (`pytinc.wire`, keys, control messages)."""

from __future__ import annotations

from fuzz.registry import accepted, target, text_of
from pytinc.wire import vip_record
from pytinc.wire.address_cache import MAX_ADDRESSES, pack_addresses, unpack_addresses
from pytinc.wire.requests import decode_line, parse_request
from pytinc.wire.subnet import parse_subnet


@target("wire/test_requests.py", "sim/test_hostile.py")
def requests(data: bytes) -> None:
    """A line of a meta connection."""
    line = accepted(decode_line, data)
    request = None if line is None else accepted(parse_request, line)
    if request is not None:
        assert parse_request(request.format()) == request


@target("wire/test_subnet.py")
def subnets(data: bytes) -> None:
    """A subnet of a request or a configuration."""
    subnet = accepted(parse_subnet, text_of(data))
    if subnet is not None:
        assert parse_subnet(str(subnet)) == subnet


@target("wire/test_address_cache.py")
def address_caches(data: bytes) -> None:
    """The file with the addresses at which a node was reached."""
    addresses = accepted(unpack_addresses, data)
    if addresses is not None:
        assert len(addresses) <= MAX_ADDRESSES
        assert unpack_addresses(pack_addresses(addresses)) == addresses


@target("wire/test_vip_record.py")
def member_records(data: bytes) -> None:
    """What a member of a virtual IP says of itself."""
    record = accepted(vip_record.parse_record, data)
    if record is not None:
        assert vip_record.parse_record(record.pack()) == record
