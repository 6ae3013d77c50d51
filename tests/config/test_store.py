"""The configuration directory on disk.

See docs/tinc-program.md, "Configuration files" and "Lines"; docs/protocol-sptps.md, "Where keys are kept".
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pytinc.config.settings import HostPort, Mode
from pytinc.config.store import ConfigTree, read_text, write_atomic
from pytinc.errors import ConfigError
from pytinc.wire import b64
from pytinc.wire.address import Address

KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))
KEY_TEXT = b64.encode(KEY)


def block(key: bytes) -> str:
    return f"-----BEGIN ED25519 PUBLIC KEY-----\n{b64.encode(key)}\n-----END ED25519 PUBLIC KEY-----\n"


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    old = os.umask(0o022)
    yield
    os.umask(old)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A configuration directory of the node alpha."""
    (tmp_path / "hosts").mkdir()
    (tmp_path / "tinc.conf").write_text("Name = alpha\n")
    (tmp_path / "hosts/alpha").write_text("Port = 1655\n")
    return tmp_path


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestServer:
    def test_a_missing_file_is_named_with_the_reason(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError) as caught:
            ConfigTree(str(tmp_path)).read_server()
        assert str(caught.value) == f"Cannot open config file {tmp_path}/tinc.conf: No such file or directory"
        assert caught.value.path == f"{tmp_path}/tinc.conf"

    def test_further_files_end_in_conf(self, base: Path) -> None:
        directory = base / "conf.d"
        directory.mkdir()
        for name in ("a.conf", "x.txt", ".conf", "b.CONF", "c.conf~"):
            (directory / name).write_text(f"ConnectTo = from_{name[0]}\n")
        assert [entry.value for entry in ConfigTree(str(base)).read_server().all("ConnectTo")] == ["from_a"]

    def test_the_lower_line_wins_between_files(self, base: Path) -> None:
        (base / "conf.d").mkdir()
        (base / "tinc.conf").write_text("Name = alpha\n\n\nMode = hub\n")
        (base / "conf.d/z.conf").write_text("Mode = switch\n")
        assert ConfigTree(str(base)).load_settings().mode is Mode.SWITCH

    def test_a_directory_among_them_makes_everything_invalid(self, base: Path) -> None:
        (base / "conf.d/x.conf").mkdir(parents=True)
        with pytest.raises(ConfigError, match=f"Failed to read {base}/conf.d/x.conf"):
            ConfigTree(str(base)).read_server()

    def test_a_directory_that_cannot_be_listed_makes_everything_invalid(self, base: Path) -> None:
        (base / "conf.d").symlink_to("conf.d")
        with pytest.raises(ConfigError, match=f"Failed to read {base}/conf.d: "):
            ConfigTree(str(base)).read_server()

    def test_an_unreadable_file_is_named_with_the_reason(self, base: Path) -> None:
        (base / "tinc.conf").unlink()
        (base / "tinc.conf").mkdir()
        with pytest.raises(ConfigError, match=r"Cannot open config file .*/tinc.conf: Is a directory"):
            ConfigTree(str(base)).read_server()

    def test_a_line_without_value_is_fatal(self, base: Path) -> None:
        (base / "tinc.conf").write_text("Name = alpha\nMode\n")
        with pytest.raises(ConfigError, match="No value for variable `Mode' on line 2"):
            ConfigTree(str(base)).load_settings()

    def test_bytes_that_are_not_text_do_no_harm(self, base: Path) -> None:
        (base / "tinc.conf").write_bytes(b"# caf\xe9\nName = alpha\nInterface = \xff\n")
        made = ConfigTree(str(base)).load_settings()
        assert made.interface is not None
        assert made.interface.encode("utf-8", "surrogateescape") == b"\xff"

    def test_an_empty_base_means_the_root_directory(self) -> None:
        assert ConfigTree("").path("tinc.conf") == "/tinc.conf"


class TestOptions:
    def test_they_come_before_the_file_and_the_first_one_wins(self, base: Path) -> None:
        (base / "tinc.conf").write_text("Name = alpha\nMode = hub\nConnectTo = c\n")
        options = ["Mode=switch", "Mode=router", "ConnectTo=d", "ConnectTo=a"]
        made = ConfigTree(str(base), options).load_settings()
        assert made.mode is Mode.SWITCH
        assert made.connect_to == ("d", "a", "c")

    def test_those_of_a_node_belong_to_its_host_file(self, base: Path) -> None:
        (base / "hosts/beta").write_text("Port = 1\n")
        tree = ConfigTree(str(base), ["beta.Port=2", "alpha.Port=3", "ALPHA.Port=4"])
        beta = tree.host_settings("beta")
        assert beta is not None
        assert beta.port == "2"
        assert tree.load_settings().port == "3"
        assert tree.load_settings().port == "3", "tinc forgets them at a reload"

    def test_one_without_a_value_is_an_error_at_once(self, base: Path) -> None:
        with pytest.raises(ConfigError, match="`Mode' in command line option 2"):
            ConfigTree(str(base), ["Port=1", "Mode"])


class TestOwnSettings:
    def test_host_file_and_server_configuration_are_one_pool(self, base: Path) -> None:
        (base / "tinc.conf").write_text("Name = alpha\nSubnet = 10.0.0.1\n")
        (base / "hosts/alpha").write_text("Port = 1655\nMode = switch\n")
        made = ConfigTree(str(base)).load_settings()
        assert (made.name, made.port, made.mode) == ("alpha", "1655", Mode.SWITCH)
        assert [str(subnet) for subnet in made.subnets] == ["10.0.0.1"]

    def test_the_name_comes_from_the_server_configuration_only(self, base: Path) -> None:
        (base / "tinc.conf").write_text("\nName = alpha\n")
        (base / "hosts/alpha").write_text("Name = omega\n")
        tree = ConfigTree(str(base))
        assert tree.own_name() == tree.load_settings().name == "alpha"

    def test_a_missing_own_host_file_is_only_reported(self, base: Path) -> None:
        (base / "hosts/alpha").unlink()
        made = ConfigTree(str(base)).load_settings()
        assert made.warnings == (f"Cannot open config file {base}/hosts/alpha: No such file or directory",)

    def test_entries_before_a_bad_line_of_the_own_host_file_count(self, base: Path) -> None:
        (base / "hosts/alpha").write_text("Port = 7\nSubnet\nWeight = 3\n")
        made = ConfigTree(str(base)).load_settings()
        assert (made.port, made.weight) == ("7", None)
        assert "No value for variable `Subnet' on line 2" in made.warnings[0]

    def test_a_reload_keeps_the_former_value_instead_of_a_bad_one(self, base: Path) -> None:
        tree = ConfigTree(str(base))
        before = replace(tree.load_settings(), mode=Mode.SWITCH)
        (base / "tinc.conf").write_text("Name = alpha\nMode = bridge\nMaxTimeout = 5\n")
        after = tree.load_settings(before)
        assert (after.mode, after.max_timeout) == (Mode.SWITCH, 5)
        assert "Invalid routing mode!" in after.warnings[0]


class TestVirtualIPs:
    @pytest.fixture
    def member(self, base: Path) -> Path:
        (base / "tinc.conf").write_text("Name = alpha\nMode = switch\nVirtualIP = 10.1.1.10 priority=5\n")
        (base / "hosts/alpha").write_text("VirtualIP = 10.1.1.11\n")
        return base

    def test_tinc_conf_sets_served_addresses_and_host_files_set_permissions(self, member: Path) -> None:
        tree = ConfigTree(str(member), ["alpha.VirtualIP = 10.1.1.12"])
        served = tree.load_settings().virtual_ips
        assert [virtual_ip.address_text for virtual_ip in served] == ["10.1.1.10"]
        assert [entry.value for entry in tree.own_pool().all("VirtualIP")] == ["10.1.1.10 priority=5"]
        alpha = tree.host_settings("alpha")
        assert alpha is not None
        assert alpha.virtual_ips == (bytes([10, 1, 1, 12]), bytes([10, 1, 1, 11]))

    def test_an_address_missing_in_the_own_host_file_is_reported_with_strict_virtual_ips(
        self, member: Path
    ) -> None:
        assert ConfigTree(str(member)).load_settings().warnings == ()
        (warning,) = ConfigTree(str(member), ["StrictVirtualIPs = yes"]).load_settings().warnings
        assert warning.startswith(f"{member}/hosts/alpha has no line VirtualIP = 10.1.1.10: ")
        (member / "hosts/alpha").write_text("VirtualIP = 10.1.1.10\n")
        assert ConfigTree(str(member), ["StrictVirtualIPs = yes"]).load_settings().warnings == ()

    def test_a_guardian_and_its_ward_both_need_the_right(self, member: Path) -> None:
        (member / "tinc.conf").write_text("Name = alpha\nMode = switch\nVirtualIP = 10.1.1.10 node=beta\n")
        tree = ConfigTree(str(member), ["StrictVirtualIPs = yes"])
        for_alpha, for_beta = tree.load_settings().warnings
        assert for_alpha.startswith(f"{member}/hosts/alpha has no line VirtualIP = 10.1.1.10: ")
        assert for_alpha.endswith("will not let this node speak for beta")
        assert for_beta.startswith(f"{member}/hosts/beta has no line VirtualIP = 10.1.1.10: ")
        for node in ("alpha", "beta"):
            (member / "hosts" / node).write_text("VirtualIP = 10.1.1.10\n")
        assert tree.load_settings().warnings == ()


class TestHosts:
    def test_a_peer_gets_its_settings_from_its_host_file_only(self, base: Path) -> None:
        (base / "tinc.conf").write_text("Name = alpha\nTCPOnly = yes\n")
        (base / "hosts/beta").write_text(f"Address = b.example\nEd25519PublicKey = {KEY_TEXT}\n")
        beta = ConfigTree(str(base)).host_settings("beta")
        assert beta is not None
        assert beta.addresses == (HostPort("b.example"),)
        assert beta.tcp_only is None
        assert beta.public_key == KEY

    @pytest.mark.parametrize("name", ["beta", "../tinc.conf", "", "a/b", "a\0"])
    def test_without_a_host_file_there_are_no_settings(self, base: Path, name: str) -> None:
        tree = ConfigTree(str(base))
        assert tree.host_settings(name) is None
        assert tree.host_mtime(name) is None
        assert tree.load_address_cache(name) == ()

    def test_a_peers_file_with_a_bad_line_is_not_used_but_can_be_looked_at(self, base: Path) -> None:
        (base / "hosts/beta").write_text("Port = 1\nSubnet\n")
        tree = ConfigTree(str(base))
        assert tree.host_settings("beta") is None
        host = tree.read_host("beta")
        assert host.pool.first("Port") is not None
        assert "No value for variable `Subnet'" in str(host.problem)

    @pytest.mark.parametrize("name", ["../alpha", "a/b", "", "."])
    def test_no_name_leads_out_of_the_directory(self, base: Path, name: str) -> None:
        tree = ConfigTree(str(base))
        for refuse in (
            lambda: tree.host_path(name),
            lambda: tree.read_host(name),
            lambda: tree.append_public_key(name, KEY_TEXT),
            lambda: tree.save_address_cache(name, []),
        ):
            with pytest.raises(ConfigError, match="Invalid name"):
                refuse()

    def test_nodes_are_the_regular_files_with_valid_names(self, base: Path) -> None:
        for name in ("beta", "beta-up", "alpha.tmp", "Zeta"):
            (base / "hosts" / name).touch()
        (base / "hosts/subdir").mkdir()
        assert ConfigTree(str(base)).host_names() == ["Zeta", "alpha", "beta"]

    def test_without_the_directory_there_are_no_nodes(self, tmp_path: Path) -> None:
        assert ConfigTree(str(tmp_path)).host_names() == []

    def test_the_time_of_the_last_change_is_that_of_the_file(self, base: Path) -> None:
        os.utime(base / "hosts/alpha", (1000, 2000))
        assert ConfigTree(str(base)).host_mtime("alpha") == 2000.0


class TestPublicKey:
    def key(self, base: Path, text: str) -> bytes | None:
        (base / "hosts/beta").write_text(text)
        settings = ConfigTree(str(base)).host_settings("beta")
        assert settings is not None
        return settings.public_key

    def test_the_variable_comes_first(self, base: Path) -> None:
        assert self.key(base, block(OTHER_KEY) + f"Ed25519PublicKey = {KEY_TEXT}\n") == KEY

    def test_then_the_file_that_is_named_relative_to_the_base(self, base: Path) -> None:
        (base / "beta.pub").write_text("# key\n" + block(KEY))
        assert self.key(base, "Ed25519PublicKeyFile = beta.pub\n" + block(OTHER_KEY)) == KEY
        assert self.key(base, f"Ed25519PublicKeyFile = {base}/beta.pub\n") == KEY

    def test_then_a_block_in_the_host_file(self, base: Path) -> None:
        assert self.key(base, "Port = 1\n" + block(KEY) + "Subnet = 10.0.0.1\n") == KEY

    @pytest.mark.parametrize("bad", [KEY_TEXT[:-1], KEY_TEXT + "A", "!" + KEY_TEXT[1:], "x", "ä" * 43])
    def test_an_invalid_variable_means_no_key_at_all(self, base: Path, bad: str) -> None:
        assert self.key(base, f"Ed25519PublicKey = {bad}\n" + block(KEY)) is None

    def test_a_named_file_without_a_key_means_no_key_at_all(self, base: Path) -> None:
        assert self.key(base, "Ed25519PublicKeyFile = nosuch\n" + block(KEY)) is None
        (base / "empty").touch()
        assert self.key(base, "Ed25519PublicKeyFile = empty\n" + block(KEY)) is None

    def test_a_host_file_need_not_have_a_key(self, base: Path) -> None:
        assert self.key(base, "Port = 1\n") is None

    def test_both_alphabets_are_understood(self, base: Path) -> None:
        key = b"\xff" * 32
        assert self.key(base, f"Ed25519PublicKey = {b64.encode(key).replace('/', '_')}\n") == key

    def test_the_own_key_is_looked_for_in_both_files(self, base: Path) -> None:
        (base / "tinc.conf").write_text("Name = alpha\nEd25519PublicKeyFile = own.pub\n")
        (base / "own.pub").write_text(block(KEY))
        tree = ConfigTree(str(base))
        assert tree.public_key(tree.own_pool(), tree.read_host("alpha").text) == KEY


class TestPrivateKey:
    def test_it_is_in_the_base_by_default(self, base: Path) -> None:
        (base / "ed25519_key.priv").write_text("secret")
        (base / "ed25519_key.priv").chmod(0o600)
        tree = ConfigTree(str(base))
        assert tree.private_key_text() == ("secret", f"{base}/ed25519_key.priv", False)
        assert tree.private_key_path() == f"{base}/ed25519_key.priv"

    @pytest.mark.parametrize("where", ["tinc.conf", "hosts/alpha"])
    def test_another_file_can_be_named(self, base: Path, where: str) -> None:
        with (base / where).open("a") as file:
            file.write("Ed25519PrivateKeyFile = sub/key\n")
        (base / "sub").mkdir()
        (base / "sub/key").write_text("secret")
        tree = ConfigTree(str(base))
        assert tree.private_key_text()[:2] == ("secret", f"{base}/sub/key")
        assert tree.private_key_path() == f"{base}/sub/key"

    @pytest.mark.parametrize(
        ("mode", "insecure"), [(0o600, False), (0o700, False), (0o640, True), (0o602, True)]
    )
    def test_permissions_for_others_are_reported(self, base: Path, mode: int, insecure: bool) -> None:
        (base / "ed25519_key.priv").touch()
        (base / "ed25519_key.priv").chmod(mode)
        assert ConfigTree(str(base)).private_key_text()[2] is insecure

    def test_a_credential_comes_first(
        self, base: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (base / "tinc.conf").write_text("Name = alpha\nEd25519PrivateKeyFile = sub/key\n")
        credentials = tmp_path_factory.mktemp("credentials")
        (credentials / "ed25519_key.priv").write_text("secret of the manager")
        (credentials / "ed25519_key.priv").chmod(0o444)
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
        path = f"{credentials}/ed25519_key.priv"
        assert ConfigTree(str(base)).private_key_text() == ("secret of the manager", path, False)

    @pytest.mark.parametrize("directory", ["", "/nonexistent", "/dev/null", "/"])
    def test_without_a_credential_the_file_counts(
        self, base: Path, directory: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (base / "ed25519_key.priv").write_text("secret")
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", directory)
        assert ConfigTree(str(base)).private_key_text()[:2] == ("secret", f"{base}/ed25519_key.priv")

    def test_an_unreadable_credential_is_an_error(
        self, base: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (base / "ed25519_key.priv").write_text("secret")
        credentials = tmp_path_factory.mktemp("credentials")
        (credentials / "ed25519_key.priv").mkdir()
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
        with pytest.raises(ConfigError, match=f"{credentials}/ed25519_key.priv': Is a directory"):
            ConfigTree(str(base)).private_key_text()

    def test_a_missing_key_is_named_with_the_reason(self, base: Path) -> None:
        with pytest.raises(ConfigError, match="Error reading Ed25519 private key file") as caught:
            ConfigTree(str(base)).private_key_text()
        assert str(caught.value).endswith(": No such file or directory")


class TestAppendPublicKey:
    def test_the_line_comes_with_tincs_comment(self, base: Path) -> None:
        (base / "hosts/beta").write_text("Port = 1")
        tree = ConfigTree(str(base))
        tree.append_public_key("beta", KEY_TEXT)
        assert (base / "hosts/beta").read_text() == (
            "Port = 1\n\n# The following line was automatically added by tinc\n"
            f"Ed25519PublicKey = {KEY_TEXT}\n"
        )
        beta = tree.host_settings("beta")
        assert beta is not None
        assert beta.public_key == KEY

    def test_no_host_file_is_made(self, base: Path) -> None:
        ConfigTree(str(base)).append_public_key("beta", KEY_TEXT)
        assert not (base / "hosts/beta").exists()

    @pytest.mark.parametrize(
        "text", ["Subnet\n", "Ed25519PublicKey = short\n", "ed25519publickeyfile = /nowhere\n"]
    )
    def test_a_file_in_which_a_further_key_would_not_count_does_not_grow(self, base: Path, text: str) -> None:
        (base / "hosts/beta").write_text(text)
        ConfigTree(str(base)).append_public_key("beta", KEY_TEXT)
        assert (base / "hosts/beta").read_text() == text

    def test_an_unreadable_file_is_not_overwritten(self, base: Path) -> None:
        (base / "hosts/beta").mkdir()
        with pytest.raises(ConfigError, match="Cannot open config file"):
            ConfigTree(str(base)).append_public_key("beta", KEY_TEXT)


class TestAddressCache:
    ADDRESSES = (Address("10.0.0.1", "655"), Address("fd00::1", "1655"))

    def test_saved_addresses_are_loaded_and_the_directory_is_made(self, base: Path) -> None:
        tree = ConfigTree(str(base))
        tree.save_address_cache("beta", self.ADDRESSES)
        assert tree.load_address_cache("beta") == self.ADDRESSES
        assert mode_of(base / "cache") == 0o755
        assert (base / "cache/beta").stat().st_size == 264

    def test_a_later_list_replaces_the_earlier_one(self, base: Path) -> None:
        tree = ConfigTree(str(base))
        tree.save_address_cache("beta", self.ADDRESSES)
        tree.save_address_cache("beta", [])
        assert tree.load_address_cache("beta") == ()

    def test_a_missing_or_foreign_file_counts_as_empty(self, base: Path) -> None:
        (base / "cache").mkdir()
        (base / "cache/beta").write_bytes(b"something else")
        tree = ConfigTree(str(base))
        assert tree.load_address_cache("beta") == ()
        assert tree.load_address_cache("gamma") == ()

    def test_failure_to_save_is_a_clear_error(self, base: Path) -> None:
        (base / "cache").touch()
        with pytest.raises(ConfigError, match=f"Cannot write {base}/cache/beta: Not a directory"):
            ConfigTree(str(base)).save_address_cache("beta", self.ADDRESSES)


class TestWriteAtomic:
    def test_a_new_file_gets_the_mode_less_the_umask(self, tmp_path: Path) -> None:
        write_atomic(f"{tmp_path}/plain", "text")
        write_atomic(f"{tmp_path}/secret", b"bytes", mode=0o600)
        assert (tmp_path / "plain").read_text() == "text"
        assert (tmp_path / "secret").read_bytes() == b"bytes"
        assert mode_of(tmp_path / "plain") == 0o644
        assert mode_of(tmp_path / "secret") == 0o600

    def test_an_existing_file_keeps_its_mode_and_owner(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_text("old")
        path.chmod(0o646)
        if os.geteuid() == 0:
            os.chown(path, 12345, 54321)
        before = path.stat()
        write_atomic(str(path), "new", mode=0o600)
        after = path.stat()
        assert path.read_text() == "new"
        assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)

    def test_a_symbolic_link_keeps_pointing_to_the_file(self, tmp_path: Path) -> None:
        (tmp_path / "target").write_text("old")
        (tmp_path / "link").symlink_to("target")
        write_atomic(f"{tmp_path}/link", "new")
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "target").read_text() == "new"

    def test_odd_bytes_survive_reading_and_writing(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"caf\xe9\r\n\xff")
        write_atomic(f"{tmp_path}/copy", read_text(f"{tmp_path}/file"))
        assert (tmp_path / "copy").read_bytes() == b"caf\xe9\r\n\xff"

    def test_a_failure_leaves_the_old_file_and_nothing_else(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        (tmp_path / "file").write_text("old")
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(ConfigError, match=f"Cannot write {tmp_path}/file: No space left on device"):
            write_atomic(f"{tmp_path}/file", "new")
        assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
        assert (tmp_path / "file").read_text() == "old"

    def test_a_missing_directory_is_a_clear_error(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="No such file or directory"):
            write_atomic(f"{tmp_path}/nosuch/file", "x")


# -- Invitations --


def invitation(base: Path, content: bytes = b"Name = beta\n") -> Path:
    (base / "invitations").mkdir()
    path = base / "invitations" / ("f" * 24)
    path.write_bytes(content)
    os.utime(path, (1000, 1000))
    return path


def test_an_invitation_is_taken_once(base: Path) -> None:
    path = invitation(base)
    tree = ConfigTree(str(base))
    assert tree.take_invitation("f" * 24) == (b"Name = beta\n", 1000.0)
    assert tree.take_invitation("f" * 24) is None
    assert sorted(path.parent.iterdir()) == [path.with_name(path.name + ".used")]
    tree.forget_taken("f" * 24)
    assert not list(path.parent.iterdir())
    with pytest.raises(ConfigError, match="Cannot remove"):
        tree.forget_taken("f" * 24)


def test_without_invitations_there_is_neither_key_nor_invitation(base: Path) -> None:
    tree = ConfigTree(str(base))
    assert tree.invitation_key_text() is None
    assert tree.take_invitation("f" * 24) is None


def test_an_overlong_invitation_is_refused(base: Path) -> None:
    invitation(base, bytes(1024 * 1024 + 1))
    with pytest.raises(ConfigError, match="longer than"):
        ConfigTree(str(base)).take_invitation("f" * 24)


def test_only_a_file_is_an_invitation(base: Path) -> None:
    (base / "invitations" / ("f" * 24)).mkdir(parents=True)
    with pytest.raises(ConfigError, match="Cannot open invitation"):
        ConfigTree(str(base)).take_invitation("f" * 24)


def test_a_host_file_is_made_but_never_replaced(base: Path) -> None:
    tree = ConfigTree(str(base))
    assert tree.add_host("beta", KEY_TEXT)
    assert (base / "hosts/beta").read_text() == f"Ed25519PublicKey = {KEY_TEXT}\n"
    assert tree.host_settings("beta").public_key == KEY  # type: ignore[union-attr]
    assert not tree.add_host("beta", b64.encode(OTHER_KEY))
    assert not tree.add_host("alpha", b64.encode(OTHER_KEY))
    assert (base / "hosts/beta").read_text() == f"Ed25519PublicKey = {KEY_TEXT}\n"
    assert sorted(path.name for path in (base / "hosts").iterdir()) == ["alpha", "beta"]


def test_a_host_file_that_cannot_be_made_is_named(base: Path) -> None:
    (base / "hosts/alpha").unlink()
    (base / "hosts").rmdir()
    with pytest.raises(ConfigError, match="hosts/beta"):
        ConfigTree(str(base)).add_host("beta", KEY_TEXT)
