"""fsck: check the configuration for problems, without a daemon, and fix some of them.

See docs/tinc-program.md, "fsck".

pytinc has no legacy protocol, so it omits what tinc's fsck says about RSA keys. Every problem is kept as a
`Finding`: it is reported on stderr at once, or with ``--json`` printed at the end (docs/json.md).
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pytinc.cli.files import own_name, read_text, write_text
from pytinc.cli.port import is_udp_port
from pytinc.cli.session import say
from pytinc.config.building import checked_settings, held_addresses
from pytinc.config.parser import Entry, Pool, own_settings_pool
from pytinc.config.store import ConfigTree, HostFile
from pytinc.config.variables import Variable, lookup
from pytinc.config.virtual_ips import rights_needed
from pytinc.crypto.keys import PrivateKey, disable_old_keys, format_public_key, parse_private_key
from pytinc.errors import ConfigError, DecodeError
from pytinc.wire.virtual_ip import ExecCheck, VirtualIP, parse_address, parse_virtual_ip

if TYPE_CHECKING:
    from pytinc.cli.session import Session
    from pytinc.config.settings import Settings

_CREDENTIALS: Final = "/run/credentials"
"""Where systemd has a directory for each unit with credentials."""
_SCRIPT_ENDS: Final = ("-up", "-down")
_SCRIPTS: Final = ("tinc", "host", "subnet", "vip")
"""Those of vip-up and vip-down are only pytinc's."""
_GUARD_SCRIPT: Final = "vip-changed"
"""The one script here that does not end in -up or -down; only pytinc runs it."""


def fsck(session: Session, words: list[str]) -> int:
    """Report problems on stderr; the status is 1 if one of them keeps the daemon from running."""
    check = Fsck(session, silent=session.json)
    status = check.run()
    if session.json:
        from pytinc.cli.machine import print_json

        print_json({"ok": status == 0, "findings": [asdict(finding) for finding in check.findings]})
    return status


@dataclass(slots=True)
class Finding:
    """One problem; the field names are those of ``--json``."""

    code: str
    """The kind of problem: a word listed in docs/json.md."""
    severity: str
    """``error`` or ``warning``."""
    message: str
    path: str | None = None
    line: int | None = None
    hint: str | None = None
    """A command that helps."""
    fixed: bool = False


class Fsck:
    """One check of a configuration directory. ``silent``: it only collects findings, and asks nothing."""

    def __init__(self, session: Session, *, silent: bool) -> None:
        self._session = session
        self._silent = silent
        self._tree: ConfigTree = session.tree
        self._failed = False
        self._no_more_fixes = False
        self.findings: list[Finding] = []

    def run(self) -> int:
        """Make all checks in tinc's order and return the exit status."""
        name = self._check_name()
        if name is None:
            return 1
        self._check_own_configuration(name)
        self._check_scripts()
        self._check_variables()
        self._check_values(name)
        return int(self._failed)

    # -- Saying and asking ---------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        """Print text that belongs to the last finding."""
        if not self._silent:
            say(text)

    def _find(self, code: str, text: str, path: str | None = None, line: int | None = None) -> None:
        """Report a problem. Messages of the file readers have no prefix: they are errors."""
        prefix, colon, message = text.partition(": ")
        if prefix not in ("ERROR", "WARNING") or not colon:
            prefix, message = "ERROR", text
        self.findings.append(Finding(code, prefix.lower(), message, path, line))
        self._say(text)

    def _find_once(self, code: str, error: ConfigError, path: str) -> None:
        """Report the complaint of a file reader, once for each file."""
        if all(finding.message != str(error) for finding in self.findings):
            self._find(code, str(error), path)

    def _fail(self, code: str, text: str, path: str | None = None, line: int | None = None) -> None:
        self._failed = True
        self._find(code, text, path, line)

    def _suggest(self, text: str, command: str) -> None:
        self.findings[-1].hint = f"{self._session.suggestion} {command}"
        self._say(f"{text}\n\n  {self.findings[-1].hint}\n")

    def _fixed(self, text: str) -> None:
        self.findings[-1].fixed = True
        self._say(text)

    def _may_fix(self) -> bool:
        """Return whether to fix the problem just reported; ask the user if there is one."""
        if self._session.force:
            return True
        while self._session.tty and not self._silent and not self._no_more_fixes:
            answer = self._session.ask("Fix y/n? ")
            if answer is None:
                self._no_more_fixes = True
            elif answer[:1] in ("y", "Y"):
                return True
            elif answer[:1] in ("n", "N"):
                return False
        return False

    # -- tinc.conf and the keys ----------------------------------------------------------------------------

    def _check_name(self) -> str | None:
        path = self._session.tinc_conf
        try:
            read_text(path)
        except OSError as error:
            code = "no-configuration" if isinstance(error, FileNotFoundError) else "unreadable"
            self._find(code, f"ERROR: cannot read {path}: {error.strerror}", path)
            if isinstance(error, FileNotFoundError):
                self._suggest("No tinc configuration found. Create a new one with:", "init")
            elif isinstance(error, PermissionError) and os.geteuid() != 0:
                self._say("You are currently not running tinc as root. Use sudo?")
            elif isinstance(error, PermissionError):
                self._say(f"Check the permissions of each component of the path {path}.")
        else:
            try:
                return own_name(path)
            except (click.ClickException, ConfigError) as error:
                self._say(str(error))
        self._find("no-name", "ERROR: tinc cannot run without a valid Name.", path)
        return None

    def _check_own_configuration(self, name: str) -> None:
        try:
            server = self._tree.read_server()
            host = self._tree.read_host(name)
            if host.problem is not None:
                raise host.problem
        except ConfigError as error:
            self._fail("syntax", str(error))
            return
        key = self._check_private_key()
        self._check_public_key(name, key, Pool([*server.entries, *host.pool.entries]), host)

    def _check_private_key(self) -> PrivateKey | None:
        key = self._read_private_key()
        if key is None:
            self._fail("no-private-key", "ERROR: No Ed25519 private key found.")
            unit = f"{_CREDENTIALS}/pytinc@{self._session.netname}.service"
            if Path(unit, "ed25519_key.priv").exists():
                self.findings[-1].hint = f"CREDENTIALS_DIRECTORY={unit} {self._session.suggestion} fsck"
                self._say(f"The unit has it from systemd. Try:\n\n  {self.findings[-1].hint}\n")
            else:
                self._suggest("You can generate a new Ed25519 key with:", "generate-ed25519-keys")
        return key

    def _read_private_key(self) -> PrivateKey | None:
        try:
            text, path, insecure = self._tree.private_key_text()
        except ConfigError as error:
            self._find("private-key", str(error))
            return None
        if insecure:
            self._check_key_owner(path)
        try:
            return parse_private_key(text)
        except DecodeError as error:
            self._find("private-key", f"Reading Ed25519 private key file `{path}' failed: {error}", path)
            return None

    def _check_key_owner(self, path: str) -> None:
        self._find("key-permissions", f"WARNING: unsafe file permissions on {path}.", path)
        status = Path(path).stat()
        if status.st_uid != os.geteuid():
            self._say(f"You are not running {self._session.program} as the same uid as {path}.")
        elif self._may_fix():
            self._change_mode(path, status.st_mode & 0o700)

    def _check_public_key(self, name: str, key: PrivateKey | None, pool: Pool, host: HostFile) -> None:
        public = self._tree.public_key(pool, host.text)
        path = self._session.host_file(name)
        if public is None:
            self._find("no-public-key", "WARNING: No (usable) public Ed25519 key found.", path)
        elif key is None:
            text = "WARNING: A public Ed25519 key was found but no private key is known."
            self._find("public-key-only", text, path)
            return
        elif public != key.public.raw:
            self._find("key-mismatch", "ERROR: public and private Ed25519 keys do not match.", path)
        else:
            return
        if key is not None and self._may_fix():
            self._write_public_key(path, key)

    def _write_public_key(self, path: str, key: PrivateKey) -> None:
        text = read_text(path)
        disabled = disable_old_keys(text, "Ed25519")
        if disabled is not None:
            self._say("Warning: old key(s) found and disabled.")
            text = disabled
        if text and not text.endswith("\n"):
            text += "\n"
        write_text(path, text + format_public_key(key.public))
        self._fixed(f"Wrote Ed25519 public key to {path}.")

    def _change_mode(self, path: str, mode: int) -> None:
        try:
            Path(path).chmod(mode)
        except OSError as error:
            self._find("not-fixed", f"ERROR: cannot change permissions on {path}: {error.strerror}", path)
        else:
            self._fixed(f"Fixed permissions of {path}.")

    # -- Scripts -------------------------------------------------------------------------------------------

    def _check_scripts(self) -> None:
        confbase = self._session.confbase
        told_names = False
        for name in self._scripts_in(confbase):
            if name.rpartition("-")[0] in _SCRIPTS:
                self._check_script(f"{confbase}/{name}")
                continue
            path = f"{confbase}/{name}"
            self._find("unknown-script", f"WARNING: Unknown script {path} found.", path)
            if not told_names:
                told_names = True
                self._say(f"The only scripts in {confbase} executed by tinc are:")
                self._say("tinc-up, tinc-down, host-up, host-down, subnet-up and subnet-down.")
        if Path(confbase, _GUARD_SCRIPT).exists():
            self._check_script(f"{confbase}/{_GUARD_SCRIPT}")
        for name in self._scripts_in(f"{confbase}/hosts"):
            self._check_script(f"{confbase}/hosts/{name}")

    def _scripts_in(self, directory: str) -> list[str]:
        try:
            names = os.listdir(directory)  # noqa: PTH208  names, not paths, are compared
        except OSError as error:
            text = f"ERROR: cannot read directory {directory}: {error.strerror}"
            self._fail("unreadable", text, directory)
            return []
        return sorted(name for name in names if name.endswith(_SCRIPT_ENDS))

    def _check_script(self, path: str) -> None:
        if os.access(path, os.R_OK | os.X_OK):
            return
        text = f"WARNING: cannot read and execute {path}: Permission denied"
        self._find("script-permissions", text, path)
        if self._may_fix():
            self._change_mode(path, 0o755)

    # -- Variables -----------------------------------------------------------------------------------------

    def _check_variables(self) -> None:
        try:
            self._check_pool(self._tree.read_server(), None)
        except ConfigError as error:
            self._find_once("syntax", error, self._session.tinc_conf)
        for name in self._tree.host_names():
            host = self._tree.read_host(name)
            if host.problem is not None:
                self._find_once("syntax", host.problem, self._session.host_file(name))
            else:
                self._check_pool(host.pool, name)

    def _check_pool(self, pool: Pool, host: str | None) -> None:
        """Check the variables of the server configuration, or of the host file of node ``host``."""
        count: Counter[str] = Counter()
        for entry in sorted(pool.entries, key=lambda entry: (entry.path or "", entry.line)):
            variable = lookup(entry.variable)
            if variable is None:
                continue
            self._check_variable(variable, entry, host)
            if not variable.multiple:
                count[variable.name] += 1
        path = self._session.tinc_conf if host is None else self._session.host_file(host)
        for name in (name for name, times in count.items() if times > 1):
            text = f"WARNING: multiple instances of variable {name} in {host or 'tinc.conf'}"
            self._find("multiple-values", text, path)

    def _check_variable(self, variable: Variable, entry: Entry, host: str | None) -> None:
        where = f"{entry.path} line {entry.line}"
        if variable.obsolete:
            text = f"WARNING: obsolete variable {variable.name} in {where}"
            self._find("obsolete-variable", text, entry.path, entry.line)
        if host is None and not variable.server:
            text = f"WARNING: host variable {variable.name} found in server config {where}"
            self._find("misplaced-variable", text, entry.path, entry.line)
        if host is not None and not variable.host:
            text = f"WARNING: server variable {variable.name} found in host config {where}"
            self._find("misplaced-variable", text, entry.path, entry.line)

    # -- Values --------------------------------------------------------------------------------------------

    def _check_values(self, name: str) -> None:
        """Check the own values by the daemon's rules, and what they need elsewhere."""
        for node in self._tree.host_names():
            self._check_host_addresses(self._tree.read_host(node).pool)
        try:
            server = self._tree.read_server()
        except ConfigError:
            return  # reported with the other variables
        host = self._tree.read_host(name)
        pool = own_settings_pool(server, host.pool)
        settings, refused, warnings = checked_settings(pool, name)
        addresses = {(entry.path, entry.line) for entry in server.all("VirtualIP")}
        for problem in refused:
            code = "virtual-ip" if (problem.path, problem.line) in addresses else "refused-value"
            self._fail(code, f"ERROR: {problem}", problem.path, problem.line)
        for warning in warnings:
            self._find("ignored-value", f"WARNING: {warning}")
        self._check_port(pool)
        self._check_dialled(server, settings.connect_to)
        self._check_virtual_ips(name, server, settings, host)

    def _check_port(self, pool: Pool) -> None:
        entry = pool.first("Port")
        if entry is not None and not is_udp_port(entry.value):
            text = f"ERROR: there is no UDP port {entry.value} (variable Port in {entry.where})"
            self._fail("refused-value", text, entry.path, entry.line)

    def _check_dialled(self, server: Pool, names: tuple[str, ...]) -> None:
        known = set(self._tree.host_names())
        for entry in server.all("ConnectTo"):
            if entry.value in names and entry.value not in known:
                text = (
                    f"WARNING: ConnectTo names {entry.value}, which has no host file "
                    f"{self._session.host_file(entry.value)} ({entry.where})"
                )
                self._find("no-host-file", text, entry.path, entry.line)

    # -- Virtual IPs ---------------------------------------------------------------------------------------

    def _check_virtual_ips(self, name: str, server: Pool, settings: Settings, host: HostFile) -> None:
        """Check the requirements of the lines VirtualIP, and the host files' entries for them."""
        held = {name: held_addresses(host.pool)}
        scripts: dict[str, Entry] = {}
        for entry, virtual_ip in _virtual_ips(server):
            for node, consequence in rights_needed(virtual_ip, name) if settings.strict_virtual_ips else ():
                if node not in held:
                    held[node] = held_addresses(self._tree.read_host(node).pool)
                if virtual_ip.address not in held[node]:
                    self._miss_right(node, consequence, entry, virtual_ip)
            for check in virtual_ip.checks:
                if isinstance(check, ExecCheck):
                    scripts.setdefault(check.script, entry)
        for script, entry in scripts.items():
            self._check_check_script(f"{self._session.confbase}/{script}", entry)

    def _check_host_addresses(self, pool: Pool) -> None:
        for entry in pool.all("VirtualIP"):
            try:
                parse_address(entry.value)
            except DecodeError as error:
                text = f"WARNING: {error} (variable {entry.variable} in {entry.where})"
                self._find("virtual-ip", text, entry.path, entry.line)

    def _miss_right(self, name: str, consequence: str, entry: Entry, virtual_ip: VirtualIP) -> None:
        text = (
            f"WARNING: {self._session.host_file(name)} does not allow {virtual_ip.address_text} of "
            f"{entry.where}: nodes with StrictVirtualIPs will not {consequence}."
        )
        self._find("virtual-ip-right", text, entry.path, entry.line)
        self._suggest(
            "You can allow it here, and then give the host file to the other nodes:",
            f"add {name}.VirtualIP {virtual_ip.address_text}",
        )

    def _check_check_script(self, path: str, entry: Entry) -> None:
        if Path(path).is_file():
            self._check_script(path)
        else:
            text = f"ERROR: there is no script {path}, which is a check in {entry.where}"
            self._find("check-script", text, entry.path, entry.line)


def _virtual_ips(server: Pool) -> Iterator[tuple[Entry, VirtualIP]]:
    """Yield the lines VirtualIP of the server configuration that can be read."""
    for entry in server.all("VirtualIP"):
        with contextlib.suppress(DecodeError):
            yield entry, parse_virtual_ip(entry.value)
