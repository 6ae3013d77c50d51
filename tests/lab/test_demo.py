from __future__ import annotations

import pytest

from pytinc.lab.demo import ADDRESSES, CLIENT, ENTRY, HOLDERS, VIP, parse_arguments, roles


def test_the_network_has_the_shape_of_the_how_to() -> None:
    assert ADDRESSES[ENTRY] == ["10.1.1.1/24"]
    assert ADDRESSES[CLIENT] == ["10.1.1.2/24"]
    assert [ADDRESSES[name] for name in HOLDERS] == [[f"10.1.1.10{n}/24", f"{VIP}/24"] for n in (2, 3, 4)]
    assert set(roles()) == set(ADDRESSES)


def test_it_runs_pytinc_unless_told_otherwise() -> None:
    assert parse_arguments([]).kind == "py"
    assert parse_arguments(["--kind", "c", "--keep", "--plain"]).keep
    with pytest.raises(SystemExit):
        parse_arguments(["--kind", "rust"])
