"""export and import: what goes out comes in again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cli.conftest import Run

SEPARATOR = "#---------------------------------------------------------------#\n"


def test_export_leaves_out_lines_that_set_a_name(run: Run, conf: Path) -> None:
    (conf / "hosts/alpha").write_text("name = x\nNAME=y\n Name = kept\nNames = kept\nPort = 1")
    assert run("-c", "conf", "export").out == "Name = alpha\n Name = kept\nNames = kept\nPort = 1"


def test_export_all_skips_scripts(run: Run, conf: Path) -> None:
    (conf / "hosts/beta-up").write_text("#!/bin/sh\n")
    (conf / "hosts/.beta.swp").write_text("x")
    blocks = run("-c", "conf", "export-all").out.split(SEPARATOR)
    assert sorted(block.split("\n")[0] for block in blocks) == ["Name = alpha", "Name = beta", "Name = gamma"]


def test_an_unreadable_host_file_fails_but_the_others_are_printed(run: Run, conf: Path) -> None:
    (conf / "hosts/beta").unlink()
    (conf / "hosts/beta").mkdir()
    result = run("-c", "conf", "export-all")
    assert result.status == 1
    assert result.err == "Could not open configuration file conf/hosts/beta: Is a directory\n"
    assert "Name = alpha" in result.out
    assert "Name = gamma" in result.out


def test_an_export_of_all_can_be_imported(run: Run, conf: Path, tmp_path: Path) -> None:
    (conf / "hosts/beta").write_text("Port = 1")
    exported = run("-c", "conf", "export-all").out
    (tmp_path / "other/hosts").mkdir(parents=True)
    result = run("-c", "other", "import", stdin=exported)
    assert result == (0, "", "Imported 3 host configuration files.\n")
    for name in ("alpha", "beta", "gamma"):
        imported = (tmp_path / "other/hosts" / name).read_text()
        assert imported.removesuffix("\n") == (conf / "hosts" / name).read_text().removesuffix("\n")


def test_existing_files_are_kept_unless_forced(run: Run, conf: Path) -> None:
    before = (conf / "hosts/beta").read_text()
    result = run("-c", "conf", "import", stdin="Name = beta\nPort = 1\nName = delta\nPort = 2\n")
    assert result.status == 0
    assert result.err.splitlines() == [
        "Host configuration file conf/hosts/beta already exists, skipping.",
        "Imported 1 host configuration files.",
    ]
    assert (conf / "hosts/beta").read_text() == before
    assert (conf / "hosts/delta").read_text() == "Port = 2\n"
    assert run("-c", "conf", "--force", "import", stdin="Name = beta\nPort = 1\n").status == 0
    assert (conf / "hosts/beta").read_text() == "Port = 1\n"


def test_an_invalid_name_ends_the_import(run: Run, conf: Path) -> None:
    result = run("-c", "conf", "import", stdin="Name = ../x\nPort = 1\n")
    assert result == (1, "", "Invalid Name in input!\n")


def test_a_name_that_is_too_long_for_a_file_is_skipped(run: Run, conf: Path) -> None:
    long = "q" * 300
    text = f"Name = one\nPort = 1\nName = {long}\nPort = 2\nName = two\nPort = 3\n"
    result = run("-c", "conf", "import", stdin=text)
    assert result.status == 0
    assert result.err.splitlines() == [
        f"Filename too long: conf/hosts/{long}, skipping.",
        "Imported 2 host configuration files.",
    ]
    assert (conf / "hosts/one").read_text() == "Port = 1\n"
    assert (conf / "hosts/two").read_text() == "Port = 3\n"


def test_a_name_that_cannot_be_a_path_ends_the_import(run: Run, conf: Path) -> None:
    result = run("-c", "x" * 3000, "import", stdin=f"Name = {'n' * 2000}\n")
    assert result.status == 1
    assert result.err.startswith("Filename too long: ")


def test_a_directory_that_is_missing_ends_the_import(run: Run, conf: Path) -> None:
    result = run("-c", "nowhere", "import", stdin="Name = beta\n")
    assert result.status == 1
    assert result.err.startswith("Error creating configuration file nowhere/hosts/beta: ")


def test_a_failed_export_imports_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty/hosts").mkdir(parents=True)
    result = run("-c", "empty", "exchange", stdin="Name = beta\n")
    assert result.status == 1
    assert list((tmp_path / "empty/hosts").iterdir()) == []


def test_the_shell_goes_on_after_an_import(run: Run, conf: Path) -> None:
    result = run("-c", "conf", stdin="export\nget Name\nimport\nName = delta\nget = Name\n")
    assert result.out.endswith("\nalpha\n")
    assert (conf / "hosts/delta").read_text() == "get = Name\n"


def test_two_ends_can_exchange_through_pipes(conf: Path, tmp_path: Path) -> None:
    (tmp_path / "other/hosts").mkdir(parents=True)
    (tmp_path / "other/tinc.conf").write_text("Name = delta\n")
    (tmp_path / "other/hosts/delta").write_text("Port = 4\n")
    words = [sys.executable, "-m", "pytinc", "-b", "-c"]
    to_two, from_one = os.pipe()
    to_one, from_two = os.pipe()
    one = subprocess.Popen([*words, str(conf), "exchange"], stdin=to_one, stdout=from_one)
    two = subprocess.Popen([*words, str(tmp_path / "other"), "exchange"], stdin=to_two, stdout=from_two)
    for end in (to_one, to_two, from_one, from_two):
        os.close(end)
    assert (one.wait(60), two.wait(60)) == (0, 0)
    assert (conf / "hosts/delta").read_text() == "Port = 4\n"
    assert (tmp_path / "other/hosts/alpha").read_text() == (conf / "hosts/alpha").read_text()
