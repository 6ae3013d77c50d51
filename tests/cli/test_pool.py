"""Addresses that an invitation carries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cli.conftest import Run


def invitations(conf: Path) -> list[Path]:
    return sorted(path for path in conf.glob("invitations/*") if len(path.name) == 24)


TINC_UP = "#!/bin/sh\n#ip addr add 10.9.9.1/24 dev $INTERFACE\nip addr add 10.1.1.1/29 dev $INTERFACE\n"


def test_an_invitation_carries_a_free_address_of_the_own_network(run: Run, reachable: Path) -> None:
    (reachable / "tinc-up").write_text(TINC_UP)
    (reachable / "hosts" / "lambda").write_text("Subnet = 10.1.1.3\n")
    for name in ("kappa", "delta", "epsilon", "zeta"):
        assert run("-c", str(reachable), "invite", name, "--address", "auto").status == 0
    given = [
        line for path in invitations(reachable) for line in path.read_text().splitlines() if "10." in line
    ]
    assert sorted(given) == sorted(
        f"{line}"
        for end in (2, 4, 5, 6)
        for line in (f"Ifconfig = 10.1.1.{end}/29", f"Subnet = 10.1.1.{end}")
    )
    result = run("-c", str(reachable), "invite", "eta", "--address", "auto")
    assert (result.status, result.out) == (1, "")
    assert "No address of 10.1.1.0/29 is free" in result.err


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("10.1.1.1", "taken already"), ("nonsense", "no IP address"), ("", "no IP address")],
)
def test_an_address_that_cannot_be_given_is_refused(
    run: Run, reachable: Path, text: str, complaint: str
) -> None:
    (reachable / "tinc-up").write_text(TINC_UP)
    result = run("-c", str(reachable), "invite", "kappa", f"--address={text}")
    assert result.status == 1
    assert complaint in result.err
    assert invitations(reachable) == []


def test_without_an_own_address_there_is_no_network_to_take_one_from(run: Run, reachable: Path) -> None:
    assert "is not known" in run("-c", str(reachable), "invite", "kappa", "--address", "auto").err
    assert run("-c", str(reachable), "invite", "kappa", "--address", "10.1.1.9/24").status == 0
    (path,) = invitations(reachable)
    assert "Ifconfig = 10.1.1.9/24\nSubnet = 10.1.1.9\n#-" in path.read_text()
