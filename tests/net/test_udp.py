from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.datapath.runs import DatagramRun
from pytinc.net.batch import LONE_READS
from pytinc.net.udp import MAX_BATCH, MAX_RUN_BYTES, MAX_SEGMENTS, DatagramSocket, UdpSockets, _groups
from pytinc.wire.address import SockAddr

if TYPE_CHECKING:
    from net.conftest import LogLines, OnLoop

HERE = ("127.0.0.1", 655)

Control = list[tuple[int, int, bytes]]
"""Control messages: level, type and data of each."""


class KernelDouble:
    """Accepts sent datagrams, or refuses them as the test wants."""

    def __init__(self) -> None:
        self.single: list[bytes] = []
        self.grouped: list[list[bytes]] = []
        self.segment_error: int | None = None
        self.limit = 65536
        self.error: int | None = None

    def fileno(self) -> int:
        return -1

    def setsockopt(self, level: int, option: int, value: int) -> None:
        assert (level, option, value) == (17, 104, 1)

    def sendto(self, data: bytes, address: SockAddr) -> int:
        if self.error is not None:
            raise OSError(self.error, "refused")
        if len(data) > self.limit:
            raise OSError(errno.EMSGSIZE, "Message too long")
        self.single.append(data)
        return len(data)

    def recvmsg_into(
        self, buffers: Sequence[bytearray], ancbufsize: int
    ) -> tuple[int, Control, int, SockAddr]:
        raise BlockingIOError

    def sendmsg(
        self,
        buffers: Sequence[bytes | memoryview],
        ancdata: Sequence[tuple[int, int, bytes]],
        flags: int,
        address: SockAddr,
    ) -> int:
        if self.segment_error is not None:
            raise OSError(self.segment_error, "refused")
        ((level, kind, size),) = ancdata
        assert (level, kind) == (17, 103)
        step, data = int.from_bytes(size, "little"), b"".join(buffers)
        if step > self.limit:
            raise OSError(errno.EMSGSIZE, "Message too long")
        self.grouped.append([data[at : at + step] for at in range(0, len(data), step)])
        return len(data)


@pytest.fixture
def kernel() -> KernelDouble:
    return KernelDouble()


def no_lone(*_: object) -> bool:
    return False


def sockets_of(kernel: DatagramSocket, log: LogLines, *, offload: bool = True) -> UdpSockets:
    """One socket that only sends."""
    loop = asyncio.new_event_loop()
    loop.close()
    return UdpSockets(
        loop,
        [kernel],
        on_datagrams=lambda *_: None,
        on_run=lambda *_: None,
        on_lone=no_lone,
        log=log,
        offload=offload,
    )


@given(st.lists(st.binary(min_size=1, max_size=1600), max_size=200))
def test_grouping_keeps_datagrams_in_order_and_respects_limits_of_the_kernel(run: list[bytes]) -> None:
    groups = list(_groups(run))
    assert [datagram for group in groups for datagram in group] == run
    for group in groups:
        assert 1 <= len(group) <= MAX_SEGMENTS
        assert sum(map(len, group)) <= MAX_RUN_BYTES
        assert {len(datagram) for datagram in group[:-1]} <= {len(group[0])}
        assert len(group[-1]) <= len(group[0])


def test_equal_datagrams_and_a_shorter_last_one_go_in_one_call(kernel: KernelDouble, log: LogLines) -> None:
    run = [b"a" * 100, b"b" * 100, b"c" * 40]
    assert sockets_of(kernel, log).send_batch(0, HERE, run) is None
    assert kernel.grouped == [run]
    assert kernel.single == []


def test_one_call_has_at_most_64_datagrams_and_65507_bytes(kernel: KernelDouble, log: LogLines) -> None:
    udp = sockets_of(kernel, log)
    udp.send_batch(0, HERE, [bytes(20)] * 130)
    assert [len(group) for group in kernel.grouped] == [64, 64, 2]
    kernel.grouped.clear()
    udp.send_batch(0, HERE, [bytes(1472)] * 64)
    assert [len(group) for group in kernel.grouped] == [44, 20]


def test_the_kernel_is_never_asked_to_segment_with_offload_no(kernel: KernelDouble, log: LogLines) -> None:
    udp = sockets_of(kernel, log, offload=False)
    run = [b"a" * 100, b"b" * 100]
    assert udp.send_batch(0, HERE, run) is None
    assert kernel.single == run
    assert (kernel.grouped, log) == ([], [])


def test_a_single_datagram_is_sent_without_segmentation(kernel: KernelDouble, log: LogLines) -> None:
    sockets_of(kernel, log).send_batch(0, HERE, [b"only"])
    assert kernel.single == [b"only"]


@pytest.mark.parametrize("error", [errno.EIO, errno.EINVAL, errno.ENOPROTOOPT])
def test_a_kernel_that_cannot_segment_is_never_asked_again(
    kernel: KernelDouble, log: LogLines, error: int
) -> None:
    kernel.segment_error = error
    udp = sockets_of(kernel, log)
    run = [b"a" * 10, b"b" * 10]
    assert udp.send_batch(0, HERE, run) is None
    assert kernel.single == run
    assert not udp.segments
    kernel.segment_error = None
    udp.send_batch(0, HERE, run)
    assert kernel.grouped == []
    assert kernel.single == run * 2
    assert len(log) == 1


def test_a_run_that_is_too_big_is_sent_singly_and_the_smallest_refused_size_returned(
    kernel: KernelDouble, log: LogLines
) -> None:
    kernel.limit = 1000
    udp = sockets_of(kernel, log)
    run = [bytes(1400), bytes(1400), bytes(1200), bytes(900)]
    assert udp.send_batch(0, HERE, run) == 1200
    assert [len(datagram) for datagram in kernel.single] == [900]
    assert udp.segments


def test_a_small_path_mtu_is_not_taken_for_a_kernel_that_cannot_segment(
    kernel: KernelDouble, log: LogLines
) -> None:
    kernel.segment_error, kernel.limit = errno.EINVAL, 1000  # as kernels before 2025 report it
    udp = sockets_of(kernel, log)
    assert udp.send_batch(0, HERE, [bytes(1400), bytes(1400)]) == 1400
    assert udp.send_batch(0, HERE, DatagramRun(memoryview(bytes(14000)), 1400)) == 1400
    assert udp.segments
    assert log == []


@pytest.mark.parametrize("error", [errno.EAGAIN, errno.EINTR, errno.ENOBUFS])
def test_a_full_queue_loses_datagrams_silently(kernel: KernelDouble, log: LogLines, error: int) -> None:
    kernel.error = kernel.segment_error = error
    udp = sockets_of(kernel, log)
    assert udp.send_batch(0, HERE, [b"aa", b"bb"]) is None
    assert udp.send(0, HERE, b"a")
    assert log == []
    assert udp.segments


def test_other_errors_are_logged_at_level_five(kernel: KernelDouble, log: LogLines) -> None:
    kernel.error = errno.ENETUNREACH
    assert sockets_of(kernel, log).send(0, HERE, b"a")
    assert log == [(5, "warning", "Error sending packet to 127.0.0.1 port 655: refused")]


@pytest.mark.parametrize(
    ("host", "wanted", "told"),
    [
        ("127.0.0.1", (socket.IPPROTO_IP, socket.IP_RECVTOS), (socket.IPPROTO_IP, socket.IP_TOS)),
        ("::1", (socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS), (socket.IPPROTO_IPV6, socket.IPV6_TCLASS)),
    ],
)
@pytest.mark.parametrize("offload", [True, False])
def test_runs_have_the_mark_that_is_set(
    log: LogLines, host: str, wanted: tuple[int, int], told: tuple[int, int], offload: bool
) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as ours, socket.socket(family, socket.SOCK_DGRAM) as theirs:
        theirs.bind((host, 0))
        theirs.setsockopt(*wanted, 1)
        theirs.settimeout(60)
        sockets = sockets_of(ours, log, offload=offload)
        sent = [b"x" * 100, b"x" * 100, b"y"]
        for mark in (0xB8, 0):
            sockets.mark = mark
            assert sockets.send_batch(0, theirs.getsockname(), sent) is None
            for datagram in sent:
                data, ancillary, _, _ = theirs.recvmsg(200, 100)
                assert data == datagram
                ((level, kind, value),) = ancillary
                assert ((level, kind), value[0]) == (told, mark)


def test_a_marked_datagram_that_is_too_big_is_reported(log: LogLines) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        sockets = sockets_of(ours, log)
        sockets.mark = 0xB8
        assert sockets.send_batch(0, HERE, [b"x" * 65508]) == 65508


def control(step: int, level: int = 17, kind: int = 104) -> Control:
    return [(level, kind, step.to_bytes(4, "little"))]


class ReceivingDouble(KernelDouble):
    """Returns given datagrams with given control messages; then there is nothing to read."""

    def __init__(self, *given: tuple[bytes, Control] | OSError) -> None:
        super().__init__()
        self.given = list(given)
        self.refuses = False

    def setsockopt(self, level: int, option: int, value: int) -> None:
        if self.refuses:
            raise OSError(errno.ENOPROTOOPT, "Protocol not available")

    def recvmsg_into(
        self, buffers: Sequence[bytearray], ancbufsize: int
    ) -> tuple[int, Control, int, SockAddr]:
        if not self.given:
            raise BlockingIOError
        piece = self.given.pop(0)
        if isinstance(piece, OSError):
            raise piece
        data, messages = piece
        buffers[0][: len(data)] = data
        return len(data), messages, 0, HERE


class LoopDouble:
    """Is ready to read when the test wants."""

    def add_reader(self, descriptor: int, callback: Callable[..., None], *args: object) -> None:
        self.readable: Callable[[], None] = lambda: callback(*args)


def wake_up(kernel: ReceivingDouble, log: LogLines) -> tuple[UdpSockets, list[list[bytes]]]:
    """Return the datagrams of each of two readiness events."""
    batches: list[list[bytes]] = []
    loop = LoopDouble()

    def on_datagrams(datagrams: Sequence[bytes], addresses: Sequence[SockAddr], index: int) -> None:
        assert (list(addresses), index) == ([HERE] * len(datagrams), 0)
        batches.append(list(datagrams))

    def on_run(run: DatagramRun, address: SockAddr, index: int) -> None:
        assert (address, index) == (HERE, 0)
        batches.append(run.datagrams())

    udp = UdpSockets(
        cast(asyncio.AbstractEventLoop, loop),
        [kernel],
        on_datagrams=on_datagrams,
        on_run=on_run,
        on_lone=no_lone,
        log=log,
    )
    udp.start()
    loop.readable()
    loop.readable()
    return udp, batches


def test_after_a_lone_datagram_single_ones_are_read_and_then_a_batch_again(log: LogLines) -> None:
    kernel = ReceivingDouble(*[(b"%d" % number, []) for number in range(LONE_READS + 1)])
    loop, taken = LoopDouble(), []

    def on_lone(datagram: bytes, address: SockAddr, index: int) -> bool:
        assert (address, index) == (HERE, 0)
        taken.append(datagram)
        return True

    udp = UdpSockets(
        cast(asyncio.AbstractEventLoop, loop),
        [kernel],
        on_datagrams=lambda *_: pytest.fail("it was taken"),
        on_run=lambda *_: None,
        on_lone=on_lone,
        log=log,
    )
    udp.start()
    given, kernel.given = kernel.given, []
    for each in given:
        kernel.given.append(each)
        loop.readable()
    assert taken == [b"%d" % number for number in range(LONE_READS + 1)]
    # Now a batch is read: what waits is taken at once, and not one by one.
    kernel.given += [(b"a", []), (b"b", [])]
    with pytest.raises(pytest.fail.Exception):
        loop.readable()
    assert kernel.given == []


@pytest.mark.parametrize("count", [3, 40])
def test_a_run_right_after_a_lone_datagram_arrives_whole(log: LogLines, count: int) -> None:
    _, batches = wake_up(ReceivingDouble((b"lone", []), BlockingIOError(), (b"abc" * count, control(3))), log)
    assert batches == [[b"lone"], [b"abc"] * count]


def test_a_run_is_split_by_the_size_that_the_kernel_reports(log: LogLines) -> None:
    kernel = ReceivingDouble((b"aaabbbc", control(3)), (b"dd", []), (b"eee", control(3)))
    udp, batches = wake_up(kernel, log)
    assert udp.offloads == ("GSO", "GRO")
    assert batches == [[b"aaa", b"bbb", b"c", b"dd", b"eee"]]


@pytest.mark.parametrize(
    "messages",
    [
        control(0),
        control(-1 % 2**32),
        control(100),
        control(3, level=1),
        control(3, kind=1),
        [(17, 104, b"")],
    ],
)
def test_a_buffer_without_a_valid_size_is_one_datagram(log: LogLines, messages: Control) -> None:
    _, batches = wake_up(ReceivingDouble((b"aaabbb", messages)), log)
    assert batches == [[b"aaabbb"]]


def test_datagrams_of_a_kernel_without_runs_are_read_one_by_one(log: LogLines) -> None:
    kernel = ReceivingDouble((b"one", []), (b"", []), (b"two", []))
    kernel.refuses = True
    with_gro, batches = wake_up(kernel, log)
    assert with_gro.offloads == ("GSO",)
    assert batches == [[b"one", b"", b"two"]]


def test_after_a_lone_datagram_the_next_one_is_read_alone(log: LogLines) -> None:
    kernel = ReceivingDouble((b"first", []), BlockingIOError(), (b"second", []), (b"third", []))
    _, batches = wake_up(kernel, log)
    assert batches == [[b"first"], [b"second"]]


def test_one_event_reads_a_bounded_number_and_the_next_one_continues(log: LogLines) -> None:
    run = (bytes(30 * 10), control(10))
    _, batches = wake_up(ReceivingDouble(*[run] * 5), log)
    assert [len(batch) for batch in batches] == [30] * 5
    _, batches = wake_up(ReceivingDouble(*[(b"x", [])] * 100), log)
    assert [len(batch) for batch in batches] == [MAX_BATCH, 100 - MAX_BATCH]


def test_datagrams_that_arrived_before_an_error_are_delivered(log: LogLines) -> None:
    kernel = ReceivingDouble((b"one", []), OSError(errno.ECONNREFUSED, "refused"), (b"two", []))
    _, batches = wake_up(kernel, log)
    assert batches == [[b"one"], [b"two"]]
    assert log == [(5, "info", "Receiving packet failed: refused")]


@pytest.mark.parametrize("sizes", [[100] * 10, [1200] * 50 + [7], [10, 20, 30, 30, 5, 5]])
@pytest.mark.parametrize("offload", [True, False])
def test_sent_datagrams_arrive_one_by_one(
    on_loop: OnLoop, log: LogLines, sizes: list[int], offload: bool
) -> None:
    async def main() -> None:
        received: list[bytes] = []
        senders: set[SockAddr] = set()
        done = asyncio.Event()

        def on_datagrams(datagrams: Sequence[bytes], addresses: Sequence[SockAddr], index: int) -> None:
            assert index == 1
            assert len(datagrams) == len(addresses) < MAX_BATCH + MAX_SEGMENTS
            received.extend(datagrams)
            senders.update(addresses)
            if len(received) >= len(sizes):
                done.set()

        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two,
        ):
            for each in (one, two):
                each.setblocking(False)
                each.bind(("127.0.0.1", 0))
            loop = asyncio.get_running_loop()

            def on_run(run: DatagramRun, address: SockAddr, index: int) -> None:
                on_datagrams(run.datagrams(), [address] * len(run), index)

            udp = UdpSockets(
                loop,
                [one, two],
                on_datagrams=on_datagrams,
                on_run=on_run,
                on_lone=no_lone,
                log=log,
                offload=offload,
            )
            assert udp.offloads == (("GSO", "GRO") if offload else ())
            udp.start()
            sent = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
            assert udp.send_batch(0, two.getsockname(), sent) is None
            await done.wait()
            udp.stop()
            assert received == sent
            assert senders == {one.getsockname()}

    on_loop(main)


def test_emsgsize_of_the_real_kernel_is_reported(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.bind(("127.0.0.1", 0))
            udp = UdpSockets(
                asyncio.get_running_loop(),
                [one],
                on_datagrams=lambda *_: None,
                on_run=lambda *_: None,
                on_lone=no_lone,
                log=log,
            )
            assert not udp.send(0, one.getsockname(), bytes(65508))

    on_loop(main)


def test_a_run_of_another_sender_is_not_mixed_with_the_first(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        received: list[tuple[bytes, SockAddr]] = []
        done = asyncio.Event()

        def on_datagrams(datagrams: Sequence[bytes], addresses: Sequence[SockAddr], index: int) -> None:
            received.extend(zip(datagrams, addresses, strict=True))
            if len(received) >= 40:
                done.set()

        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target,
        ):
            for each in (one, two, target):
                each.setblocking(False)
                each.bind(("127.0.0.1", 0))
            loop = asyncio.get_running_loop()

            def on_run(run: DatagramRun, address: SockAddr, index: int) -> None:
                on_datagrams(run.datagrams(), [address] * len(run), index)

            udp = UdpSockets(
                loop, [one, two, target], on_datagrams=on_datagrams, on_run=on_run, on_lone=no_lone, log=log
            )
            for index, letter in ((0, b"1"), (1, b"2"), (0, b"3"), (1, b"4")):
                udp.send_batch(index, target.getsockname(), [letter * 500] * 10)
            udp.start()
            await done.wait()
            udp.stop()
            names = [one.getsockname(), two.getsockname()]
            for number, sender in enumerate(names):
                assert [data[:1] for data, address in received if address == sender] == (
                    [b"%d" % (number + 1)] * 10 + [b"%d" % (number + 3)] * 10
                )

    on_loop(main)
