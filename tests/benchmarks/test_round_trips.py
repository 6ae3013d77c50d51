from __future__ import annotations

import pytest

from comparison.round_trips import FEWEST, MOST, count_of, parse_sockperf
from pytinc.lab.namespaces import LabError

REPORT = """\
sockperf: Test ended
sockperf: [Total Run] RunTime=3.003 sec; Warm up time=400 msec; SentMessages=30424; ReceivedMessages=30423
sockperf: ========= Printing statistics for Server No: 0
sockperf: [Valid Duration] RunTime=2.500 sec; SentMessages=20001; ReceivedMessages=20000
sockperf: Summary: Latency is 14.607 usec
"""


def test_transactions_are_those_after_the_warm_up() -> None:
    assert parse_sockperf(REPORT) == 8000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sockperf: Can`t connect socket (errno=111 Connection refused)\n",
        "[Valid Duration] RunTime=0.000 sec; SentMessages=0; ReceivedMessages=0",
        "[Valid Duration] RunTime=2.000 sec; SentMessages=1; ReceivedMessages=0",
    ],
)
def test_a_run_without_transactions_is_an_error(text: str) -> None:
    with pytest.raises(LabError, match="sockperf: "):
        parse_sockperf(text)


def test_the_number_of_pings_fits_the_time_and_has_bounds() -> None:
    assert count_of(20, 3) == 150
    assert count_of(200, 1) == FEWEST
    assert count_of(0.5, 10) == MOST
