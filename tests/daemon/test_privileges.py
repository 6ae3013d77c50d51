from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pytinc.daemon.privileges import drop_privileges, prepare_directories, set_priority
from pytinc.errors import ConfigError, DeviceError

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_directories_are_made_and_get_their_modes(tmp_path: Path) -> None:
    (tmp_path / "invitations").mkdir(mode=0o777)
    prepare_directories(str(tmp_path))
    assert mode(tmp_path) == mode(tmp_path / "cache") == mode(tmp_path / "hosts") == 0o755
    assert mode(tmp_path / "invitations") == 0o700


def test_a_directory_that_cannot_be_made_is_ignored(tmp_path: Path) -> None:
    prepare_directories(str(tmp_path / "no" / "such"))


def test_an_unknown_priority_is_refused() -> None:
    with pytest.raises(ConfigError, match="Invalid priority"):
        set_priority("lowest")


@pytest.mark.parametrize(("word", "nice"), [("low", "10"), ("Normal", "0")])
def test_a_priority_sets_the_nice_value(word: str, nice: str) -> None:
    code = f"import os, pytinc.daemon.privileges as p; p.set_priority({word!r}); print(os.nice(0))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == nice


def test_an_unknown_user_is_refused_by_name() -> None:
    with pytest.raises(DeviceError, match="unknown user `nosuchuser'"):
        drop_privileges("nosuchuser", None)


@needs_root
def test_user_and_root_directory_are_changed_and_files_are_still_found(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "here").write_text("inside")
    code = (
        "import os\n"
        "from pytinc.daemon.privileges import drop_privileges\n"
        f"drop_privileges('nobody', {str(tmp_path)!r})\n"
        "print(os.getuid(), os.getgid() != 0, os.getcwd(), open('/here').read(), 0 in os.getgroups())\n"
        "import pytinc.wire.address_cache, encodings.idna\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    uid, group_changed, directory, content, root_group = done.stdout.split()
    assert (uid != "0", group_changed, directory, content, root_group) == (
        True,
        "True",
        "/",
        "inside",
        "False",
    )


def test_without_anything_to_drop_nothing_changes() -> None:
    before = os.getuid(), os.getgid(), Path.cwd()
    drop_privileges(None, None)
    assert (os.getuid(), os.getgid(), Path.cwd()) == before
