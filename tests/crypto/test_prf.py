"""Key expansion (docs/protocol-sptps.md, "Key expansion"): vectors/prf.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.crypto.prf import prf

VECTORS = json.loads((Path(__file__).parents[1] / "data/vectors/prf.json").read_text())


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["about"])
def test_prf_vector(case: dict[str, Any]) -> None:
    output = bytes.fromhex(case["output"])
    assert prf(bytes.fromhex(case["secret"]), bytes.fromhex(case["seed"]), len(output)) == output


@given(st.binary(max_size=64), st.binary(max_size=64), st.integers(0, 300), st.integers(0, 300))
def test_a_shorter_output_is_the_beginning_of_a_longer_one(
    secret: bytes, seed: bytes, a: int, b: int
) -> None:
    shorter, longer = sorted((a, b))
    assert prf(secret, seed, longer)[:shorter] == prf(secret, seed, shorter)
    assert len(prf(secret, seed, longer)) == longer
