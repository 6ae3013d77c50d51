"""The virtio-net header, against the layout that linux/virtio_net.h gives."""

from __future__ import annotations

from pytinc.wire import virtio


def test_the_header_has_the_layout_of_struct_virtio_net_hdr_without_num_buffers() -> None:
    header = virtio.HEADER.pack(virtio.NEEDS_CSUM, virtio.GSO_TCPV6, 74, 1440, 54, 16)
    assert len(header) == 10
    assert (header[virtio.FLAGS], header[virtio.GSO_TYPE]) == (1, 4)
    assert virtio.CHECKSUM_PLACE.unpack_from(header, virtio.CHECKSUM_PLACE_AT) == (54, 16)


def test_a_null_header_asks_for_nothing() -> None:
    flags, kind, *_ = virtio.HEADER.unpack(virtio.NULL_HEADER)
    assert not flags & virtio.NEEDS_CSUM
    assert kind == virtio.GSO_NONE
