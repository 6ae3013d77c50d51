"""Where everything is: docs/tinc-program.md, "Paths" and "Options of the daemon"."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytinc.config.paths import absolute, chosen_netname, cli_paths, daemon_paths, socket_path
from pytinc.errors import ConfigError


@pytest.fixture(autouse=True)
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of our own: ``etc`` and ``var`` below a temporary directory, which is the current one."""
    (tmp_path / "var/run").mkdir(parents=True)
    (tmp_path / "etc/tinc").mkdir(parents=True)
    monkeypatch.setenv("PYTINC_SYSCONFDIR", f"{tmp_path}/etc")
    monkeypatch.setenv("PYTINC_LOCALSTATEDIR", f"{tmp_path}/var")
    monkeypatch.delenv("NETNAME", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


class TestNetname:
    def test_the_option_comes_before_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NETNAME", "env")
        assert chosen_netname(None) == "env"
        assert chosen_netname("vpn") == "vpn"
        assert chosen_netname(".") is None

    @pytest.mark.parametrize("given", [None, "", "."])
    def test_there_need_not_be_a_network_name(self, given: str | None) -> None:
        assert chosen_netname(given) is None
        assert cli_paths(given, None, None).ident == "tinc"

    @pytest.mark.parametrize("name", [".vpn", "a/b", "a\\b", "..", "a\nb"])
    def test_a_name_that_leads_elsewhere_is_refused(self, name: str) -> None:
        for refuse in (
            lambda: chosen_netname(name),
            lambda: cli_paths(name, None, None),
            lambda: daemon_paths(name, None, None),
        ):
            with pytest.raises(ConfigError, match="Invalid character in netname"):
                refuse()


class TestCommand:
    def test_without_options_the_system_directory_is_used(self, system: Path) -> None:
        paths = cli_paths(None, None, None)
        assert paths.confdir == paths.confbase == f"{system}/etc/tinc"
        assert paths.pidfile == f"{system}/var/run/tinc.pid"
        assert paths.socket == f"{system}/var/run/tinc.socket"
        assert paths.logfile == f"{system}/var/log/tinc.log"
        assert (paths.netname, paths.ident, paths.warnings) == (None, "tinc", ())

    def test_a_network_has_its_own_directory_and_names(self, system: Path) -> None:
        paths = cli_paths("vpn", None, None)
        assert paths.confbase == f"{system}/etc/tinc/vpn"
        assert paths.confdir == f"{system}/etc/tinc"
        assert paths.pidfile == f"{system}/var/run/tinc.vpn.pid"
        assert paths.socket == f"{system}/var/run/tinc.vpn.socket"
        assert (paths.netname, paths.ident) == ("vpn", "tinc.vpn")

    def test_a_given_directory_wins_with_a_note_and_stays_as_it_is(self, system: Path) -> None:
        paths = cli_paths("vpn", "./conf/", None)
        assert paths.confbase == "./conf/"
        assert paths.pidfile == f"{system}/var/run/tinc.vpn.pid"
        assert len(paths.warnings) == 1

    def test_a_pid_file_in_the_configuration_directory_is_found(self, system: Path) -> None:
        (system / "conf").mkdir()
        (system / "conf/pid").touch()
        paths = cli_paths(None, "conf", None)
        assert (paths.pidfile, paths.socket, paths.logfile) == ("conf/pid", "conf/pid.socket", "conf/log")

    def test_a_pid_file_of_the_system_is_preferred(self, system: Path) -> None:
        (system / "pid").touch()
        (system / "var/run/tinc.pid").touch()
        assert cli_paths(None, str(system), None).pidfile == f"{system}/var/run/tinc.pid"

    def test_a_given_pid_file_decides_the_socket(self) -> None:
        paths = cli_paths(None, None, "x/y.pid")
        assert (paths.pidfile, paths.socket) == ("x/y.pid", "x/y.socket")

    def test_without_our_environment_the_usual_directories_are_used(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("PYTINC_SYSCONFDIR")
        monkeypatch.delenv("PYTINC_LOCALSTATEDIR")
        paths = cli_paths("no_such_network_here", None, None)
        assert paths.confbase == "/etc/tinc/no_such_network_here"
        assert paths.pidfile == "/var/run/tinc.no_such_network_here.pid"


class TestDaemon:
    def test_the_system_set_is_used_where_it_may(self, system: Path) -> None:
        paths = daemon_paths("vpn", None, None)
        assert paths.pidfile == f"{system}/var/run/tinc.vpn.pid"
        assert paths.logfile == f"{system}/var/log/tinc.vpn.log"
        assert paths.warnings == ()

    def test_otherwise_files_go_to_the_configuration_directory_with_a_warning(
        self, system: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PYTINC_LOCALSTATEDIR", f"{system}/nowhere")
        (system / "conf").mkdir()
        paths = daemon_paths(None, "conf", None)
        base = os.path.realpath(system / "conf")
        assert paths.confbase == base
        assert (paths.pidfile, paths.socket, paths.logfile) == (
            f"{base}/pid",
            f"{base}/pid.socket",
            f"{base}/log",
        )
        assert len(paths.warnings) == 1
        assert f"{system}/nowhere" in paths.warnings[0]
        assert base in paths.warnings[0]
        assert "No such file or directory" in paths.warnings[0]

    def test_an_existing_pid_file_in_the_configuration_directory_does_not_matter(self, system: Path) -> None:
        (system / "pid").touch()
        assert daemon_paths(None, str(system), None).pidfile == f"{system}/var/run/tinc.pid"

    def test_given_files_become_absolute(self, system: Path) -> None:
        paths = daemon_paths(None, "conf/.//.", "run/x.pid", "logs/y")
        assert paths.confbase == f"{os.getcwd()}/conf/.//."
        assert paths.pidfile == f"{os.getcwd()}/run/x.pid"
        assert paths.socket == f"{os.getcwd()}/run/x.socket"
        assert paths.logfile == f"{os.getcwd()}/logs/y"

    def test_an_unsafe_network_name_is_reported(self) -> None:
        (warning,) = daemon_paths("my net", None, None).warnings
        assert "unsafe character in netname" in warning

    def test_directory_and_network_together_are_reported(self, system: Path) -> None:
        assert len(daemon_paths("vpn", str(system), None).warnings) == 1


class TestAbsolute:
    def test_an_absolute_or_empty_path_is_kept(self) -> None:
        assert absolute("/a/./b/../c") == "/a/./b/../c"
        assert absolute("") == ""

    def test_an_existing_path_is_resolved(self, system: Path) -> None:
        (system / "link").symlink_to("etc")
        assert absolute("./link/../link/tinc") == os.path.realpath(system / "etc/tinc")

    def test_any_other_path_is_appended_to_the_directory(self) -> None:
        assert absolute("conf/.//./log") == f"{os.getcwd()}/conf/.//./log"


@pytest.mark.parametrize(
    ("pidfile", "socket"),
    [
        ("/run/tinc.pid", "/run/tinc.socket"),
        ("conf/pid", "conf/pid.socket"),
        (".pid", ".pid.socket"),
        ("a.pid.old", "a.pid.old.socket"),
        ("x.pid", "x.socket"),
    ],
)
def test_the_socket_follows_from_the_pid_file(pidfile: str, socket: str) -> None:
    assert socket_path(pidfile) == socket
