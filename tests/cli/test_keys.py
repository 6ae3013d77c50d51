"""generate-keys: new keys are added to their files, old ones disabled."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytinc.crypto.keys import parse_private_key

if TYPE_CHECKING:
    from cli.conftest import Run

PROGRESS = "Generating Ed25519 key pair:\nDone.\n"
DISABLED = "Warning: old key(s) found and disabled.\n"


@pytest.mark.parametrize("command", ["generate-keys", "generate-ed25519-keys"])
def test_old_keys_are_disabled_not_deleted(run: Run, conf: Path, command: str) -> None:
    old_private = (conf / "ed25519_key.priv").read_text()
    old_public = (conf / "hosts/alpha").read_text()
    (conf / "ed25519_key.priv").chmod(0o644)
    assert run("-c", "conf", command) == (0, "", PROGRESS + DISABLED * 2)
    private = (conf / "ed25519_key.priv").read_text()
    commented = "".join(f"#{line}" for line in old_private.splitlines(keepends=True))
    assert private.startswith(commented)
    public = parse_private_key(private).public.text
    assert (conf / "hosts/alpha").read_text() == f"#{old_public}Ed25519PublicKey = {public}\n"
    assert (conf / "ed25519_key.priv").stat().st_mode & 0o777 == 0o600
    assert run("-c", "conf", "fsck") == (0, "", "")


def test_a_missing_newline_is_added_before_a_key(run: Run, conf: Path) -> None:
    (conf / "hosts/alpha").write_text("Port = 7")
    run("-c", "conf", "generate-keys")
    assert (conf / "hosts/alpha").read_text().startswith("Port = 7\nEd25519PublicKey = ")


def test_without_a_name_the_public_key_gets_its_own_file(run: Run, conf: Path) -> None:
    (conf / "tinc.conf").unlink()
    assert run("-c", "conf", "generate-keys").status == 0
    assert (conf / "ed25519_key.pub").read_text().startswith("Ed25519PublicKey = ")


def test_keys_that_cannot_be_written_are_a_failure(run: Run, tmp_path: Path) -> None:
    result = run("-c", "nowhere", "generate-keys")
    assert result.status == 1
    assert "Error opening file `nowhere/ed25519_key.priv'" in result.err
