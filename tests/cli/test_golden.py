"""pytinc beside the real `tinc`: same words, same output, same exit status, same files.

Each case runs both programs on their own copy of one directory. Where tinc 1.1pre18 differs from what its
successor does or from what pytinc means to do, the case says why, and only what must agree is compared.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    pass

TINC = shutil.which("tinc", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
pytestmark = [
    pytest.mark.tincd,
    pytest.mark.skipif(TINC is None, reason="the real tinc is not installed"),
]
PYTINC = [sys.executable, "-m", "pytinc"]

HOST_FILE = """\
# the own node
Address = a.example.org
subnet=10.0.1.0/24
Subnet 10.0.1.7#3
  Port = 1
-----BEGIN RSA PUBLIC KEY-----
MIIBCgKCAQEAtw8yRRZpDOb071tL9m54t9A6JUr3qPnt
-----END RSA PUBLIC KEY-----
Port = 7000"""
TINC_CONF = "Name = alpha\nConnectTo = beta\nmode=switch\nConnectTo = gamma\nPingInterval 30\n"
EXPORTED = (
    "junk\nmore junk\nName = delta\nPort = 5\n"
    "#---------------------------------------------------------------#\n"
    "Name=beta\nPort = 6\nName = epsilon more\nSubnet = 10.9.0.0/16\nName = not here\n Name = x\n"
)


class Case(NamedTuple):
    words: str
    stdin: str = ""
    other_files: str = ""
    """Why the files differ, if they do."""
    other_err: str = ""
    """Why the messages differ, if they do."""
    more: Mapping[str, str] = MappingProxyType({})
    """Further files in the configuration directory."""


STALE = f"99999999 {'AB' * 32} 127.0.0.1 port 655\n"
"""No process can have this number."""
SIGNED = """\
Signature = foo 1795379367 zwBpUvfQ2TxArlOlzuuZ3RAF/xyyXwz6M4zFG54g96FEkb82rMlKW3qrJ0VTW3O8S9pXMnCqWqXn1ajnCUj2FA
hello
world
"""  # noqa: E501
EMPTY_SUBNET = "pre18 complains of a malformed subnet when no value is given"

CASES = [
    # get
    Case("get Name"),
    Case("get name"),
    Case("get Subnet", other_err=EMPTY_SUBNET),
    Case("get ConnectTo"),
    Case("get Mode"),
    Case("get beta.Address"),
    Case("get Address=b.example.org 656"),
    Case("get PingTimeout"),
    Case("get NoSuchVariable"),
    Case("get nobody.Subnet", other_err=EMPTY_SUBNET),
    Case("get a-b.Subnet", other_err=EMPTY_SUBNET),
    Case("get .Subnet", other_err=EMPTY_SUBNET),
    Case("get =x"),
    Case("get alpha."),
    Case("get Port", other_err="pytinc says that it has no pid file (R)"),
    Case("get beta.Port", other_err="R's message of a missing pid file is for the own node only"),
    # set
    Case("set Mode hub"),
    Case("set Mode = hub"),
    Case("set Mode=hub"),
    Case("set name == hub"),
    Case("set ConnectTo delta"),
    Case("set ConnectTo BETA"),
    Case("set Port 8000"),
    Case("set alpha.Port 8000"),
    Case("set beta.Subnet 10.9.9.0/24#5"),
    Case("set AutoConnect  no"),
    Case("set Mode"),
    Case("set NoSuchVariable 1"),
    Case("--force set NoSuchVariable 1"),
    Case("set GraphDumpFile /x"),
    Case("--force set GraphDumpFile /x"),
    Case("set beta.Mode hub"),
    Case("--force set beta.Mode hub"),
    Case("set Subnet 10.0.0.1/8"),
    Case("set nobody.Port 5"),
    Case("set a-b.Port 5"),
    Case("set -c x"),
    # add, del
    Case("add ConnectTo delta"),
    Case("add ConnectTo Beta"),
    Case("add Mode hub"),
    Case("add Mode SWITCH"),
    Case("add Subnet 10.0.1.0/24", other_files="pre18 writes the file even if nothing changes"),
    Case("add Subnet fe80::/10"),
    Case("--force add NoSuchVariable a b"),
    Case("del ConnectTo"),
    Case("del ConnectTo GAMMA"),
    Case("del ConnectTo nobody"),
    Case("del PingTimeout"),
    Case("del beta.Subnet", other_err=EMPTY_SUBNET),
    Case("del NoSuchVariable"),
    Case("del Port"),
    # config
    Case("config get Name"),
    Case("config Name"),
    Case("config Mode hub"),
    Case("config replace Mode hub"),
    Case("config CHANGE Mode hub"),
    Case("config add ConnectTo delta"),
    Case("config del ConnectTo"),
    Case("config"),
    Case("config get"),
    # words and options
    Case("GET Name"),
    Case("-b --force get Name"),
    Case("nosuch"),
    Case("-n .x get Name"),
    Case("-n x get Name"),
    Case("-x"),
    Case("--nosuch"),
    Case("--batch=1"),
    Case("-c"),
    Case("--conf"),
    Case("stop now"),
    Case("debug"),
    Case("verify"),
    Case("version x"),
    # without a daemon
    Case("pid"),
    Case("reload"),
    Case("stop"),
    Case("purge"),
    Case("retry"),
    Case("debug 3"),
    Case("log"),
    Case("pcap"),
    Case("top"),
    Case("connect a-b"),
    Case("disconnect a-b"),
    Case("connect beta"),
    Case("info beta"),
    Case("info a-b"),
    Case("dump"),
    Case("dump nodes x"),
    Case("dump reachable edges"),
    Case("dump reachable"),
    Case("dump nosuch"),
    Case("list nodes"),
    Case("dump invitations"),
    # export, import
    Case("export"),
    Case("export x"),
    Case("import", EXPORTED),
    Case("--force import", EXPORTED),
    Case("import", "Name = a-b\n"),
    Case("import", "nothing\n"),
    Case("import", ""),
    Case("exchange", EXPORTED),
    Case("-c nowhere export"),
    Case("-c nowhere export-all"),
    Case("-c nowhere exchange-all", EXPORTED),
    # the rest
    Case("network a:b"),
    Case("network .x"),
    Case("network ."),
    Case("network a b"),
    Case("edit a-b"),
    Case("edit"),
    Case("sign nosuchfile"),
    Case("verify a-b"),
    Case("verify ."),
    Case("verify . nosuchfile"),
    Case("verify *", "no signature\n"),
    Case("verify beta", f"Signature = gamma 1795379367 {'A' * 86}\n"),
    Case(
        "verify beta", f"Signature = beta 1795379367 {'A' * 86}\n", other_err="wording of the key's absence"
    ),
    Case("verify nobody", f"Signature = nobody 1795379367 {'A' * 86}\n"),
    Case("verify foo", f"Signature = foo 1795379367 {'A' * 86}\nhello\n"),
    Case("verify foo", f"Signature = foo 0 {'A' * 86}\n"),
    Case("init alpha"),
    Case("-c new init a-b"),
    Case("-c new init"),
    # the shell
    Case("", "get Name\n# comment\nget Mode\n"),
    Case("", "set Mode hub\nadd Subnet 1.2.3.4\nget Mode\nget Subnet\n", other_err=EMPTY_SUBNET),
    Case("", " # no comment\nnosuch\nget Name\nQUIT x\nget Name\n"),
    Case("", "network x\nget Name\n"),
    Case("", ""),
    # get, set, add, del once more
    Case("get"),
    Case("set"),
    Case("add"),
    Case("del"),
    Case("get Mode switch"),
    Case("get ConnectTo ="),
    Case("get mode="),
    Case("get beta.Subnet", other_err=EMPTY_SUBNET),
    Case("get beta.subnet 10.8.0.0/16"),
    Case("get Ed25519PublicKey"),
    Case("get beta.Mode"),
    Case("get x.y.z"),
    Case("get -n"),
    Case("set Name delta"),
    Case("set Name"),
    Case("set ="),
    Case("set .Port 5"),
    Case("set beta. 5"),
    Case("set Subnet fe80::/10#5"),
    Case("set Subnet 1:2:3:4:5:6"),
    Case("set beta.Address x 1"),
    Case("set Address a.example.org"),
    Case("set Weight 5"),
    Case("set beta.Weight 5"),
    Case("set PMTU 1400"),
    Case("set beta.PMTU 1400"),
    Case("set TCPOnly yes"),
    Case("set PrivateKey ff"),
    Case("set PublicKey ff"),
    Case("--force set PublicKey ff"),
    Case("set PingInterval forever", other_err="pytinc warns of a value that the daemon ignores"),
    Case("set Mode\t=\thub"),
    Case("set conf/x 1"),
    Case("add Subnet 10.0.1.7#3", other_files="pre18 writes the file even if nothing changes"),
    Case("add Subnet 10.0.1.7#4"),
    Case("add beta.Address c 1"),
    Case("add Address b.example.org"),
    Case("add ConnectTo=delta"),
    Case("add Port 7000"),
    Case("add Port 7001"),
    Case("add beta.ConnectTo x"),
    Case("add GraphDumpFile /x"),
    Case("--force add GraphDumpFile /x"),
    Case("add NoSuchVariable 1"),
    Case("add nobody.Subnet 10.0.0.0/8"),
    Case("del Name"),
    Case("del ConnectTo=beta"),
    Case("del mode"),
    Case("del Mode hub"),
    Case("del alpha.Port 7000"),
    Case("del alpha.Port 7001"),
    Case("del Subnet 10.0.1.0/24"),
    Case("del Subnet 10.0.1.0/25"),
    Case("del Subnet 10.0.1.1/24"),
    Case("del beta.Address"),
    Case("del nobody.Address"),
    Case("del a-b.Address"),
    Case("del GraphDumpFile"),
    Case("config set Mode hub"),
    Case("config set"),
    Case("config nosuch"),
    Case("config beta.Address"),
    Case("config change"),
    Case("get Name", more={"tinc.conf": "\nNAME\talpha   \nName=beta\n"}),
    Case("get Mode", more={"tinc.conf": "Name = alpha\r\nMode = hub\r\n"}),
    Case("get Device", more={"tinc.conf": "Name = alpha\nDevice = a # b = c\n"}),
    Case("set Mode hub", more={"tinc.conf": "Name = alpha\n Mode = x\n#Mode = y\nMode = a\nMODE = b\nlast"}),
    Case("set Mode hub", more={"tinc.conf": ""}),
    Case("set Port 1", more={"tinc.conf": ""}),
    Case("set Port 1", more={"tinc.conf": "Name = a-b\n"}),
    Case("get Subnet", more={"tinc.conf": "Name = nobody\n"}, other_err=EMPTY_SUBNET),
    # global options once more
    Case("--batch get Name"),
    Case("--bat get Name"),
    Case("--net=x get Name"),
    Case("--net x get Name"),
    Case("-nx get Name"),
    Case("-bn x get Name"),
    Case("-n . get Name"),
    Case("-n a/b get Name"),
    Case("-n"),
    Case("--net"),
    Case("--pidfile"),
    Case("--pidfile=x pid"),
    Case("--pidfile x pid"),
    Case("-c nowhere -c conf get Name"),
    Case("-c nowhere get Name"),
    Case("-cnowhere get Name"),
    Case("--config=nowhere get Name"),
    Case("--config nowhere set Mode hub"),
    Case("-- get Name"),
    Case("--force=1 get Name"),
    Case("--no get Name"),
    Case("-V"),
    Case("Get -b Name"),
    Case("gen"),
    # numbers of words
    Case("pid x"),
    Case("reload x"),
    Case("purge x"),
    Case("retry x"),
    Case("debug 1 2"),
    Case("connect"),
    Case("connect a b"),
    Case("disconnect"),
    Case("disconnect a b"),
    Case("top x"),
    Case("pcap 1 2"),
    Case("log 1 2"),
    Case("export-all x"),
    Case("import x"),
    Case("exchange x"),
    Case("exchange-all x"),
    Case("info"),
    Case("info a b"),
    Case("sign a b"),
    Case("verify a b c"),
    Case("fsck x"),
    Case("edit a b"),
    Case("init a b"),
    Case("generate-ed25519-keys x"),
    # without a daemon, with pid files that are no good
    Case("info 10.0.0.1"),
    Case("dump graph"),
    Case("dump DIGRAPH"),
    Case("dump Connections"),
    Case("dump reachable nodes x"),
    Case("dump invitations x"),
    Case("log x"),
    Case("--pidfile=conf/bad.pid pid", more={"bad.pid": "nonsense\n"}),
    Case("--pidfile=conf/bad.pid stop", more={"bad.pid": "nonsense\n"}),
    Case("--pidfile=conf/empty.pid reload", more={"empty.pid": ""}),
    Case("--pidfile=conf/stale.pid pid", more={"stale.pid": STALE}),
    Case("--pidfile=conf/stale.pid dump nodes", more={"stale.pid": STALE}),
    Case(
        "--pidfile=conf/stale.pid stop",
        more={"stale.pid": STALE},
        other_err="tinc tries to send a signal even so, and says that it cannot",
    ),
    # invitations
    Case("dump invitations", more={f"invitations/{'a' * 24}": "Name = delta\nNetName = x\n"}),
    Case("dump invitations", more={f"invitations/{'a' * 24}": "Name = a-b\n"}),
    Case(
        "dump invitations",
        more={f"invitations/{'a' * 24}": "Mode = hub\n", "invitations/short": "Name = x\n"},
    ),
    # export, import, exchange once more
    Case("export", more={"hosts/alpha": "NAME = x\n name = y\nPort = 1"}),
    Case("export", more={"tinc.conf": "Mode = hub\n"}),
    Case("export", more={"tinc.conf": "Name = nobody\n"}),
    Case("exchange", EXPORTED, more={"tinc.conf": "Name = nobody\n"}),
    Case("--force exchange", EXPORTED),
    Case("import", "Name = delta\r\nPort = 5\r\n"),
    Case("import", "Name delta\nPort = 5\n"),
    Case("import", "name = delta\nPort = 5\n"),
    Case("import", "Name = delta\nPort = 5\nName = delta\nPort = 6\n"),
    Case("import", "Name = beta\nPort = 5\n"),
    Case("-c nowhere import", "Name = delta\nPort = 5\n", other_err="pytinc says more"),
    # edit, sign, verify, network, init once more
    Case("edit tinc.conf"),
    Case("edit tinc-up"),
    Case("edit beta"),
    Case("edit hosts/beta"),
    Case("edit beta-up"),
    Case("edit beta-sideways"),
    Case("edit -up"),
    Case("sign nosuchfile x"),
    Case("sign conf/tinc.conf", more={"ed25519_key.priv": "no key\n"}),
    Case("sign", "text", more={"tinc.conf": "Mode = hub\n"}),
    Case("verify foo nosuchfile"),
    Case("verify foo conf/signed", more={"signed": SIGNED}),
    Case("verify foo conf/signed", more={"signed": SIGNED + "more\n"}),
    Case("verify * conf/signed", more={"signed": SIGNED}),
    Case("verify . conf/signed", more={"signed": SIGNED}),
    Case("verify beta conf/signed", more={"signed": SIGNED}),
    Case("verify foo", SIGNED.replace("Signature =", "Signature=")),
    Case("verify foo", SIGNED.replace("\n", " more words\n", 1)),
    Case("verify foo", f"Signature = a-b 1795379367 {'A' * 86}\n"),
    Case("verify foo", f"Signature = foo x {'A' * 86}\n"),
    Case("verify foo", "Signature = foo 1 short\n"),
    Case("verify foo", ""),
    Case("network"),
    Case("network a/b"),
    Case("network a"),
    Case("-c new init ''"),
    Case("-c conf/tinc.conf init x", other_err="pytinc names the directory that is in the way"),
    Case("-c nowhere fsck", other_err="pre18 does not end with the word about the Name"),
    Case("generate-ed25519-keys", other_files="each has made its own keys"),
    Case("generate-ed25519-keys", more={"tinc.conf": ""}, other_files="each has made its own keys"),
    # join, as far as it comes without an inviter
    Case("join x"),
    Case("-c new join x", other_err="pytinc tells what is wrong with the URL"),
    Case("-c new join", "::1/x\n", other_err="pytinc tells what is wrong with the URL"),
    Case(f"-c new join 127.0.0.1:1/{'A' * 48}", other_err="pre18 has no last word (R)"),
    Case(f"-c new join a..b/{'A' * 48}", other_err="Python does not let such a name reach the resolver"),
    # the shell once more
    Case("", "exit now\nget Name\n"),
    Case("", "\n\t \nget   Name  \n"),
    Case("", "GET Name\nDuMp\npid\npid\n"),
    Case("", "network .x\nnetwork a b\nnosuch\n"),
    Case("", "get Name # Mode\n"),
    Case("", "get Name"),
    Case("--force", "set NoSuchVariable 1\nget NoSuchVariable\n"),
    Case("", "x" * 5000 + "\nget Name\n"),
    Case("", "get Mode\r\n"),
    Case("join"),
    Case("join a b"),
    Case("invite"),
    Case("invite a-b"),
    Case("invite foo"),
    Case("invite beta"),
]
DIFFERENT = {
    "set Subnet junk": "pre18 reports the malformed value and writes it all the same; R and pytinc refuse it",
    "export-all": "tinc puts the separator into the last line of a host file without a newline at its end",
    "--version": "another program, and pre18 has no Features line",
    "help": "pytinc lists edit, help and version, and has no RSA keys",
    "generate-keys 1024": "pytinc has no RSA keys, so no size to choose",
    "generate-rsa-keys": "pytinc has no RSA keys",
    "set mode == hub": "pytinc refuses a value with which the daemon does not start",
    "fsck": "pre18 looks for RSA keys, and takes other variables for known",
    "edit a.b": "pytinc refuses to make a host file that no node can have",
    "-h": "pytinc shows its help",
    "-c new join": "pre18 exits with 0 when no URL can be read",
}


@pytest.fixture
def template(conf: Path) -> Path:
    (conf / "tinc.conf").write_text(TINC_CONF)
    (conf / "hosts" / "alpha").write_text(HOST_FILE)
    key = "Ed25519PublicKey = gLeZdAjSACcESEAsVpLQtAzCV2LsvSaebOuiGKc9bUN\n"
    (conf / "hosts" / "foo").write_text(key)
    return conf


def run_copy(program: list[str], template: Path, words: list[str], stdin: str) -> tuple[object, ...]:
    """Run a program on its own copy of the directory: exit status, stdout, stderr, files."""
    place = template.parent / f"{len(program)}"
    shutil.copytree(template, place / "conf")
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "EDITOR": "true"}
    given = [] if "-c" in words[:1] else ["-c", "conf"]
    done = subprocess.run(
        [*program, *given, "--pidfile=none.pid", *words],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=place,
        env=environment,
        check=False,
        timeout=60,
    )
    # An option's parser names the program by its path, and so do suggestions.
    err = done.stderr.replace(str(TINC), "tinc").replace("pytinc", "tinc")
    return done.returncode, done.stdout, err, files_below(place)


def files_below(directory: Path) -> dict[str, tuple[str, str]]:
    return {
        str(file.relative_to(directory)): (stat.filemode(file.stat().st_mode), file.read_text())
        for file in sorted(directory.rglob("*"))
        if file.is_file()
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.words or f"shell: {case.stdin}")
def test_both_do_the_same(template: Path, case: Case) -> None:
    assert TINC is not None
    words = case.words.split(" ") if case.words else []
    for name, text in case.more.items():
        (template / name).parent.mkdir(exist_ok=True)
        (template / name).write_text(text, newline="")
    theirs = run_copy([TINC], template, words, case.stdin)
    ours = run_copy(PYTINC, template, words, case.stdin)
    assert ours[:2] == theirs[:2]
    if not case.other_err:
        assert ours[2] == theirs[2]
    if not case.other_files:
        assert ours[3] == theirs[3]


def test_the_list_is_long_enough() -> None:
    count = len(CASES) + len(DIFFERENT)
    print(f"{count} invocations of tinc and pytinc are compared, {len(DIFFERENT)} of them known to differ")
    assert len(CASES) >= 150
    assert len({(case.words, case.stdin, str(case.more)) for case in CASES}) == len(CASES), "one occurs twice"


@pytest.mark.parametrize("words", DIFFERENT)
def test_what_is_listed_as_different_is_different(template: Path, words: str) -> None:
    assert TINC is not None
    theirs = run_copy([TINC], template, words.split(), "")
    assert run_copy(PYTINC, template, words.split(), "") != theirs


def test_a_file_signed_by_one_is_verified_by_the_other(template: Path) -> None:
    assert TINC is not None
    (template / "tinc.conf").write_text("Name = foo\n")
    text = "hello\nworld\nno newline"
    status, signed_by_tinc, err, _ = run_copy([TINC], template, ["sign"], text)
    assert (status, err) == (0, "")
    status, signed_by_pytinc, err, _ = run_copy(PYTINC, template, ["sign"], text)
    assert (status, err) == (0, "")
    for program, signed in ([TINC], str(signed_by_pytinc)), (PYTINC, str(signed_by_tinc)):
        for name in ("foo", ".", "*"):
            shutil.rmtree(template.parent / f"{len(program)}")
            assert run_copy(program, template, ["verify", name], signed)[:3] == (0, text, "")
        shutil.rmtree(template.parent / f"{len(program)}")
        assert run_copy(program, template, ["verify", "foo"], signed + "!")[:3] == (
            1,
            "",
            "Invalid signature\n",
        )
