"""fsck: every finding, and its repair."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytinc.cli import fsck as fsck_module

if TYPE_CHECKING:
    from cli.conftest import Run, ScriptedDaemon

PUBLIC_KEY = "gLeZdAjSACcESEAsVpLQtAzCV2LsvSaebOuiGKc9bUN"
OTHER_KEY = "CQw+4p+sBvP6vIsuyIryi0TAwoUCXKdliq4+UtbRI1H"


@pytest.fixture
def fsck(run: Run, conf: Path) -> Run:
    return lambda *options: run("-c", "conf", *options, "fsck")


def add(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def test_a_good_directory_gives_no_output(fsck: Run) -> None:
    assert fsck() == (0, "", "")


def test_a_missing_configuration_suggests_init(run: Run) -> None:
    result = run("-c", "nowhere", "fsck")
    assert result.status == 1
    assert "ERROR: cannot read nowhere/tinc.conf: No such file or directory\n" in result.err
    assert "No tinc configuration found" in result.err
    assert "pytinc -c nowhere init\n" in result.err
    assert "without a valid Name" in result.err
    assert "pytinc -n vpn init\n" in run("-n", "vpn", "fsck").err


@pytest.mark.parametrize("uid", [0, 1000])
def test_a_forbidden_configuration_gives_advice(fsck: Run, uid: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: str) -> str:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(fsck_module, "read_text", forbidden)
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    result = fsck()
    assert result.status == 1
    assert ("not running tinc as root" in result.err) == (uid != 0)
    assert ("Check the permissions of each component of the path" in result.err) == (uid == 0)


@pytest.mark.parametrize("text", ["Name = a-b\n", "Mode = hub\n", "Name = $NO_SUCH_VARIABLE\n", ""])
def test_a_name_is_needed(fsck: Run, conf: Path, text: str) -> None:
    (conf / "tinc.conf").write_text(text)
    result = fsck()
    assert result.status == 1
    assert result.err.endswith("ERROR: tinc cannot run without a valid Name.\n")


def test_a_line_without_a_value_is_named_once_and_the_rest_is_checked(fsck: Run, conf: Path) -> None:
    add(conf / "tinc.conf", "Mode\n")
    (conf / "foo-up").touch()
    result = fsck()
    assert result.status == 1
    assert result.err.count("No value for variable `Mode' on line 2") == 1
    assert "Unknown script conf/foo-up found" in result.err


def test_a_missing_host_file_is_named(fsck: Run, conf: Path) -> None:
    (conf / "hosts/alpha").unlink()
    result = fsck()
    assert result.status == 1
    assert "Cannot open config file conf/hosts/alpha: No such file or directory" in result.err


def test_a_host_file_of_another_node_may_be_bad(fsck: Run, conf: Path) -> None:
    add(conf / "hosts/beta", "Port\n")
    result = fsck()
    assert result.status == 0
    assert "No value for variable `Port' on line 3 while reading config file conf/hosts/beta" in result.err


def test_a_missing_private_key_suggests_to_make_one(fsck: Run, conf: Path) -> None:
    (conf / "ed25519_key.priv").unlink()
    result = fsck()
    assert result.status == 1
    assert "Error reading Ed25519 private key file" in result.err
    assert "No Ed25519 private key found" in result.err
    assert "pytinc -c conf generate-ed25519-keys\n" in result.err
    assert "public Ed25519 key was found but no private key" in result.err


def test_a_key_that_systemd_has_is_not_made_again(
    run: Run, conf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc/tinc").mkdir(parents=True)
    conf.rename(tmp_path / "etc/tinc/mynet")
    monkeypatch.setenv("PYTINC_SYSCONFDIR", str(tmp_path / "etc"))
    unit = tmp_path / "credentials/pytinc@mynet.service"
    unit.mkdir(parents=True)
    (tmp_path / "etc/tinc/mynet/ed25519_key.priv").rename(unit / "ed25519_key.priv")
    monkeypatch.setattr("pytinc.cli.fsck._CREDENTIALS", str(unit.parent))
    result = run("-n", "mynet", "fsck")
    assert result.status == 1
    assert f"CREDENTIALS_DIRECTORY={unit} " in result.err
    assert "generate" not in result.err
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(unit))
    assert run("-n", "mynet", "fsck").status == 0


def test_an_invalid_private_key_is_reported(fsck: Run, conf: Path) -> None:
    (conf / "ed25519_key.priv").write_text("junk")
    result = fsck()
    assert result.status == 1
    assert "Reading Ed25519 private key file `conf/ed25519_key.priv' failed" in result.err


def test_a_private_key_elsewhere_is_found(fsck: Run, conf: Path) -> None:
    (conf / "ed25519_key.priv").rename(conf / "key")
    add(conf / "hosts/alpha", "Ed25519PrivateKeyFile = key\n")
    assert "Error reading" not in fsck().err


def test_loose_permissions_are_fixed_on_request(fsck: Run, conf: Path) -> None:
    key = conf / "ed25519_key.priv"
    key.chmod(0o644)
    finding = "WARNING: unsafe file permissions on conf/ed25519_key.priv.\n"
    assert fsck() == (0, "", finding)
    assert key.stat().st_mode & 0o777 == 0o644
    assert fsck("--force") == (0, "", finding + "Fixed permissions of conf/ed25519_key.priv.\n")
    assert key.stat().st_mode & 0o777 == 0o600
    assert fsck() == (0, "", "")


def test_permissions_of_another_users_files_are_left_alone(
    fsck: Run, conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (conf / "ed25519_key.priv").chmod(0o644)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert "as the same uid" in fsck("--force").err
    assert (conf / "ed25519_key.priv").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("host_file", "finding"),
    [
        ("Port = 7", "WARNING: No (usable) public Ed25519 key found.\n"),
        ("Ed25519PublicKey = x\n", "WARNING: No (usable) public Ed25519 key found.\n"),
        (
            f"ed25519publickey={OTHER_KEY}\nPort = 7\n",
            "ERROR: public and private Ed25519 keys do not match.\n",
        ),
    ],
)
def test_a_wrong_public_key_is_replaced_on_request(
    fsck: Run, conf: Path, host_file: str, finding: str
) -> None:
    host = conf / "hosts/alpha"
    host.write_text(host_file)
    assert fsck() == (0, "", finding)
    result = fsck("--force")
    assert result.status == 0
    assert result.err.endswith("Wrote Ed25519 public key to conf/hosts/alpha.\n")
    assert ("old key(s) found and disabled" in result.err) == ("ublic" in host_file)
    assert host.read_text().endswith(
        f"-----BEGIN ED25519 PUBLIC KEY-----\n{PUBLIC_KEY}\n-----END ED25519 PUBLIC KEY-----\n"
    )
    assert "Port = 7\n" in host.read_text() or "Port" not in host_file
    assert fsck() == (0, "", "")


def test_scripts_are_checked(fsck: Run, conf: Path) -> None:
    for name in ("foo-up", "a-b-down", "host-up", "hosts/beta-down"):
        (conf / name).touch(0o644)
    result = fsck()
    assert result.status == 0
    assert result.err.splitlines() == [
        "WARNING: Unknown script conf/a-b-down found.",
        "The only scripts in conf executed by tinc are:",
        "tinc-up, tinc-down, host-up, host-down, subnet-up and subnet-down.",
        "WARNING: Unknown script conf/foo-up found.",
        "WARNING: cannot read and execute conf/host-up: Permission denied",
        "WARNING: cannot read and execute conf/hosts/beta-down: Permission denied",
    ]
    fsck("--force")
    assert os.access(conf / "host-up", os.X_OK)
    assert os.access(conf / "hosts/beta-down", os.X_OK)
    assert len(fsck().err.splitlines()) == 4


def test_the_script_of_the_guard_is_checked_if_it_is_there(fsck: Run, conf: Path) -> None:
    assert fsck().err == ""
    (conf / "vip-changed").touch(0o644)
    assert fsck().err == "WARNING: cannot read and execute conf/vip-changed: Permission denied\n"
    fsck("--force")
    assert fsck().err == ""


def test_a_missing_hosts_directory_is_a_failure(fsck: Run, conf: Path) -> None:
    for file in (conf / "hosts").iterdir():
        file.unlink()
    (conf / "hosts").rmdir()
    result = fsck()
    assert result.status == 1
    assert "ERROR: cannot read directory conf/hosts: No such file or directory" in result.err


def test_misplaced_obsolete_and_repeated_variables_are_reported(fsck: Run, conf: Path) -> None:
    add(conf / "tinc.conf", "subnet = 10.0.0.0/8\ngraphdumpfile = /x\nmode = hub\nMode = switch\nNew = 1\n")
    (conf / "conf.d").mkdir()
    (conf / "conf.d/x.conf").write_text("Port = 1\n")
    add(conf / "hosts/beta", "connectto = x\nPort = 1\nport = 2\nSubnet = 10.0.3.0/24\n")
    result = fsck()
    assert result.status == 0
    assert result.err.splitlines() == [
        "WARNING: host variable Port found in server config conf/conf.d/x.conf line 1",
        "WARNING: host variable Subnet found in server config conf/tinc.conf line 2",
        "WARNING: obsolete variable GraphDumpFile in conf/tinc.conf line 3",
        "WARNING: multiple instances of variable Mode in tinc.conf",
        "WARNING: server variable ConnectTo found in host config conf/hosts/beta line 3",
        "WARNING: multiple instances of variable Port in beta",
        "WARNING: Unknown variable New in conf/tinc.conf line 6",
    ]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("Mode = swtich", "Invalid routing mode!"),
        ("AddressFamily = ipv5", "Invalid address family!"),
        ("DeviceType = tpa", "Unknown device type tpa"),
        ("MaxTimeout = 0", "MaxTimeout cannot be smaller than 1!"),
        ("MetricsListen = here", "here"),
        ("Sandbox = low", "Bad sandbox value low!"),
        ("Forwarding = all", "Invalid forwarding mode!"),
        ("Port = none", "there is no UDP port none"),
        ("Compression = 13", "Bogus compression level 13"),
        ("Proxy = carrier pigeon", "carrier"),
    ],
)
def test_a_value_with_which_the_daemon_does_not_start_is_a_failure(
    fsck: Run, conf: Path, line: str, complaint: str
) -> None:
    add(conf / "tinc.conf", f"{line}\n")
    result = fsck()
    assert result.status == 1
    (told,) = (text for text in result.err.splitlines() if text.startswith("ERROR: "))
    assert complaint in told
    assert f"(variable {line.split()[0]} in conf/tinc.conf line 2)" in told


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("Mdoe = switch", "Unknown variable Mdoe in conf/tinc.conf line 2, did you mean Mode?"),
        ("VDEPort = a", "Integer expected for configuration variable VDEPort in conf/tinc.conf line 2"),
        (
            "ConnectTo = no",
            "ConnectTo names no, which has no host file conf/hosts/no (conf/tinc.conf line 2)",
        ),
    ],
)
def test_what_the_daemon_ignores_is_a_warning(fsck: Run, conf: Path, line: str, complaint: str) -> None:
    add(conf / "tinc.conf", f"{line}\n")
    result = fsck()
    assert result.status == 0
    assert result.err.splitlines()[-1] == f"WARNING: {complaint}"


def test_fsck_neither_needs_nor_notifies_a_daemon(fsck: Run, daemon: ScriptedDaemon) -> None:
    assert fsck("--force").status == 0
    assert daemon.requests == []


# -- virtual IPs --


@pytest.fixture
def member(conf: Path) -> Path:
    """Make the node a switch that serves an address."""
    add(conf / "tinc.conf", "Mode = switch\nVirtualIP = 10.1.1.10/24 check=tcp:80\n")
    return conf


def test_a_good_virtual_ip_gives_no_output(fsck: Run, member: Path) -> None:
    add(member / "hosts/beta", "VirtualIP = 10.1.1.10\n")
    assert fsck() == (0, "", "")


def test_bad_virtual_ips_are_failures_and_all_are_named(fsck: Run, member: Path) -> None:
    add(member / "tinc.conf", "VirtualIP = 10.1.1.11 prio=5\nVirtualIP = 10.1.1.10\nNeighbourGuard = no\n")
    result = fsck()
    assert result.status == 1
    unknown, double, forbidden = result.err.splitlines()
    assert unknown.startswith("ERROR: prio is not a key of a virtual IP, did you mean priority?")
    assert unknown.endswith("(variable VirtualIP in conf/tinc.conf line 4)")
    assert double.startswith("ERROR: 10.1.1.10 occurs twice, first in conf/tinc.conf line 3 ")
    assert forbidden.startswith("ERROR: A virtual IP does not work with NeighbourGuard = no (conf/tinc.conf")
    assert forbidden.endswith("(variable VirtualIP in conf/tinc.conf line 3)")


def test_a_bad_virtual_ip_of_a_host_file_is_a_warning(fsck: Run, member: Path) -> None:
    add(member / "hosts/beta", "VirtualIP = 10.1.1.10/24\n")
    result = fsck()
    assert result.status == 0
    assert result.err.startswith("WARNING: 10.1.1.10/24 is more than an address: ")
    assert result.err.endswith("(variable VirtualIP in conf/hosts/beta line 3)\n")


def test_a_virtual_ip_that_the_own_host_file_does_not_allow_is_a_warning_with_advice(
    fsck: Run, member: Path, run: Run
) -> None:
    add(member / "tinc.conf", "StrictVirtualIPs = yes\n")
    result = fsck()
    assert result.status == 0
    assert result.err.startswith(
        "WARNING: conf/hosts/alpha does not allow 10.1.1.10 of conf/tinc.conf line 3: "
    )
    assert "\n  pytinc -c conf add alpha.VirtualIP 10.1.1.10\n" in result.err
    run("-c", "conf", "add", "alpha.VirtualIP", "10.1.1.10")
    assert fsck() == (0, "", "")


def test_scripts_of_checks_must_be_there_and_executable(fsck: Run, member: Path) -> None:
    add(
        member / "tinc.conf",
        "VirtualIP = 10.1.1.11 check=exec:vip-check\nVirtualIP = 10.1.1.12 check=exec:vip-check\n",
    )
    missing = "ERROR: there is no script conf/vip-check, which is a check in conf/tinc.conf line 4\n"
    assert fsck() == (0, "", missing)
    (member / "vip-check").mkdir()
    assert fsck() == (0, "", missing)
    (member / "vip-check").rmdir()
    (member / "vip-check").touch(0o644)
    assert fsck().err == "WARNING: cannot read and execute conf/vip-check: Permission denied\n"
    fsck("--force")
    assert fsck() == (0, "", "")


def test_scripts_about_virtual_ips_are_known(fsck: Run, conf: Path) -> None:
    for name in ("vip-up", "vip-down"):
        (conf / name).touch(0o755)
    assert fsck() == (0, "", "")
