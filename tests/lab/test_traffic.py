from __future__ import annotations

import json

import pytest

from pytinc.lab.namespaces import LabError
from pytinc.lab.traffic import UdpReport, parse_iperf, parse_iperf_udp, parse_ping

PING = """\
PING 192.0.2.2 (192.0.2.2) 56(84) bytes of data.
64 bytes from 192.0.2.2: icmp_seq=2 ttl=64 time=0.070 ms
64 bytes from 192.0.2.2: icmp_seq=3 ttl=64 time=12 ms

--- 192.0.2.2 ping statistics ---
3 packets transmitted, 2 received, 33% packet loss, time 934ms
rtt min/avg/max/mdev = 0.062/0.066/0.070/0.004 ms
"""


def test_a_ping_report_counts_what_was_lost() -> None:
    report = parse_ping(PING)
    assert (report.sent, report.received, report.lost) == (3, 2, 1)
    assert report.times_ms == {2: 0.07, 3: 12.0}


def test_text_without_a_ping_report_is_an_error() -> None:
    with pytest.raises(LabError, match="Network is unreachable"):
        parse_ping("ping: connect: Network is unreachable\n")


def test_an_iperf_report_gives_the_rate_and_each_second() -> None:
    report = {
        "intervals": [{"sum": {"bytes": 1000}}, {"sum": {"bytes": 0}}],
        "end": {"sum_sent": {"retransmits": 3}, "sum_received": {"bits_per_second": 4000.0}},
    }
    parsed = parse_iperf(json.dumps(report))
    assert (parsed.bits_per_second, parsed.intervals, parsed.retransmits) == (4000.0, (1000.0, 0.0), 3)
    assert parsed.megabits == 0.004


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"error": "unable to connect"}', "not json"])
def test_a_failed_iperf_run_is_an_error(text: str) -> None:
    with pytest.raises(LabError, match="iperf3"):
        parse_iperf(text)
    with pytest.raises(LabError, match="iperf3"):
        parse_iperf_udp(text, 64)


def test_a_udp_report_counts_what_arrived_by_its_bytes() -> None:
    # iperf3 saw only one gap; the packets lost at the end leave none.
    end = {
        "sum_sent": {"packets": 1000, "seconds": 2.0},
        "sum_received": {"bytes": 750 * 64, "lost_packets": 1},
    }
    report = parse_iperf_udp(json.dumps({"end": end}), 64)
    assert report == UdpReport(sent=1000, delivered=750, seconds=2.0)
    assert report.packets_per_second == 375
    assert report.loss_percent == 25


def test_a_udp_run_without_packets_has_no_loss() -> None:
    assert UdpReport(0, 0, 1.0).loss_percent == 0
