"""Targets: code that turns bytes and text of other nodes into values (`pytinc.wire`, and keys)."""

from __future__ import annotations

from fuzz.registry import accepted, target, text_of
from pytinc.crypto import keys
from pytinc.wire import arp, assignment_record, flow, neighbour, pem, records, vip_record
from pytinc.wire.address import Address, normalise
from pytinc.wire.address_cache import MAX_ADDRESSES, pack_addresses, unpack_addresses
from pytinc.wire.b64 import decode, encode
from pytinc.wire.capabilities import BLOCK_SIZE, format_block, parse_block
from pytinc.wire.invitation import parse_url
from pytinc.wire.names import parse_name
from pytinc.wire.netlink import changed_addresses, parse_list
from pytinc.wire.requests import decode_line, parse_request
from pytinc.wire.subnet import parse_subnet
from pytinc.wire.virtual_ip import line_key, parse_address, parse_virtual_ip


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


@target("wire/test_address.py")
def addresses(data: bytes) -> None:
    """Host and port of a request."""
    host, _, port = text_of(data).partition(" ")
    address = normalise(host, port)
    assert normalise(*address) == address
    if address.family:
        assert len(address.sockaddr()) == (2 if address.family == 4 else 4)


@target("wire/test_address_cache.py", lambda: [pack_addresses([Address("10.0.0.1", "655")] * 3)])
def address_caches(data: bytes) -> None:
    """The file with the addresses at which a node was reached."""
    found = accepted(unpack_addresses, data)
    if found is not None:
        assert len(found) <= MAX_ADDRESSES
        assert unpack_addresses(pack_addresses(found)) == found


@target("wire/test_names.py", "data/vectors/base64.json", "data/vectors/hashes.json")
def words(data: bytes) -> None:
    """Names, base64, and the capabilities in a probe."""
    text = text_of(data)
    accepted(parse_name, text)
    raw = accepted(decode, text)
    if raw is not None:
        assert decode(encode(raw)) == raw
        assert decode(encode(raw, urlsafe=True)) == raw
    capabilities = parse_block(data, 0)
    if capabilities:
        assert format_block(capabilities) == data[:BLOCK_SIZE]


@target("wire/test_vip_record.py", "wire/test_assignment_record.py")
def member_records(data: bytes) -> None:
    """What a member of a virtual IP says of itself, and which clients it gives out."""
    record = accepted(vip_record.parse_record, data)
    if record is not None:
        assert vip_record.parse_record(record.pack()) == record
    assignments = accepted(assignment_record.parse_assignments, data)
    if assignments is not None:
        assert assignment_record.parse_assignments(assignments.pack()) == assignments


@target("wire/test_virtual_ip.py", "config/test_building.py")
def virtual_ips(data: bytes) -> None:
    """A line VirtualIP of a configuration."""
    text = text_of(data)
    accepted(parse_address, text)
    key = accepted(line_key, text)
    virtual_ip = accepted(parse_virtual_ip, text)
    if virtual_ip is not None:
        assert key == virtual_ip.key
        assert parse_virtual_ip(str(virtual_ip)) == virtual_ip


@target("wire/test_arp.py", "wire/test_neighbour.py", "datapath/test_neighbour.py", "vip/test_asking.py")
def neighbours(data: bytes) -> None:
    """ARP and neighbour discovery in a frame, and the questions we make of it."""
    arp.parse_arp(data)
    arp.parse_neighbour(data)
    arp.first_options(data)
    neighbour.ends_of(data)
    message = neighbour.parse(data)
    if message is None or message.kind not in (neighbour.Kind.QUESTION, neighbour.Kind.PROBE):
        return
    silent = neighbour.parse(neighbour.without_sender(data))
    assert silent is not None
    assert silent.target == message.target
    assert silent.kind in (neighbour.Kind.PROBE, neighbour.Kind.ENQUIRY)
    if message.kind is neighbour.Kind.QUESTION:
        asked = neighbour.parse(neighbour.with_sender(data, message.address, message.note))
        assert asked is not None
        assert (asked.kind, asked.address, asked.target) == (message.kind, message.address, message.target)


@target("wire/test_flow.py", "wire/test_ip.py")
def flows(data: bytes) -> None:
    """The flow that a frame belongs to."""
    packet = flow.parse(data)
    if packet is not None:
        assert len(packet.flow) <= 64


@target("wire/test_netlink.py")
def netlink(data: bytes) -> None:
    """What the kernel says about addresses."""
    assert all(len(address) in (4, 16) for address in changed_addresses(data))
    entries, _ = parse_list(data)
    assert all(len(entry.address) in (4, 16) for entry in entries)


@target("wire/test_invitation.py")
def invitation_urls(data: bytes) -> None:
    """The URL of an invitation."""
    url = accepted(parse_url, text_of(data))
    if url is not None:
        assert parse_url(url.text()) == url


@target("wire/test_records.py", "data/vectors/sptps_stream.json")
def key_exchanges(data: bytes) -> None:
    """A KEX record of SPTPS."""
    kex = accepted(records.parse_kex, data)
    if kex is not None:
        assert records.format_kex(*kex) == data


@target("wire/test_pem.py", "crypto/test_keys.py", "data/vectors/keyfiles.json")
def key_files(data: bytes) -> None:
    """Files with keys, public keys as text, and old keys to be commented out."""
    text = text_of(data)
    accepted(pem.read_block, text, "RSA PUBLIC KEY", 32)
    private, public = accepted(keys.parse_private_key, text), accepted(keys.parse_public_key, text)
    if private is not None:
        assert keys.parse_private_key(keys.format_private_key(private)).blob == private.blob
    if public is not None:
        assert keys.parse_public_key(keys.format_public_key(public)) == public
    as_word = accepted(keys.PublicKey.from_text, text)
    if as_word is not None:
        assert keys.PublicKey.from_text(as_word.text) == as_word
        as_word.verify(data[:64], data)
    accepted(keys.key_hash, text)
    disabled = keys.disable_old_keys(text, "Ed25519")
    if disabled is not None:
        assert keys.disable_old_keys(disabled, "Ed25519") is None
        assert accepted(keys.parse_public_key, disabled) is None
