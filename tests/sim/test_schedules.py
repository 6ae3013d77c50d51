"""Random schedules of faults: a few in every run; benchmarks/schedules.py runs thousands."""

from __future__ import annotations

import pytest

from sim.schedules import QUIET, results


@pytest.mark.parametrize("seed", range(3))
def test_the_rules_of_virtual_ips_hold_after_random_faults(seed: int) -> None:
    for result in results(seed, 6):
        assert result.broken_s <= QUIET, (result.rule, result.story)
