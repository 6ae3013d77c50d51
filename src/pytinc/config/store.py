"""The files of a configuration directory. Only this module reads and writes configuration on disk.

The daemon and the commands make one `ConfigTree` and ask it for settings, host files, keys and address
caches. Text is read as UTF-8, other bytes are kept (surrogateescape), and files are replaced as a whole.
Nothing is kept between calls: a reload asks again. See docs/tinc-program.md, "Configuration files".
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pytinc.config.building import build_host_settings, build_settings, held_addresses, own_name
from pytinc.config.parser import Entry, Pool, own_settings_pool, parse_option, parse_text
from pytinc.config.settings import HostSettings, Settings
from pytinc.config.virtual_ips import rights_needed
from pytinc.errors import ConfigError, DecodeError
from pytinc.wire import b64
from pytinc.wire.address import Address
from pytinc.wire.invitation import MAX_INVITATION_SIZE
from pytinc.wire.names import is_valid_name
from pytinc.wire.pem import read_block

PUBLIC_KEY_SIZE: Final = 32
PUBLIC_KEY_TEXT_LENGTH: Final = 43
_PUBLIC_KEY_BLOCK: Final = "ED25519 PUBLIC KEY"
_DEFAULT_PRIVATE_KEY: Final = "ed25519_key.priv"
INVITATION_KEY: Final = "invitations/ed25519_key.priv"
_TAKEN: Final = ".used"
_ADDED_BY_US: Final = "# The following line was automatically added by tinc"
CREDENTIALS: Final = "CREDENTIALS_DIRECTORY"
"""The variable with the directory of what the service manager passes to a process (systemd.exec(5))."""


def private_key_credential() -> str | None:
    """Return the path of the private key that a service manager passed to this process, or None.

    It is ``ed25519_key.priv`` in the directory that CREDENTIALS_DIRECTORY names (systemd's LoadCredential).
    """
    directory = os.environ.get(CREDENTIALS)
    if not directory:
        return None
    path = f"{directory}/{_DEFAULT_PRIVATE_KEY}"
    try:
        Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        pass  # there may be one: reading it shows the reason
    return path


def read_text(path: str) -> str:
    """Return a file's text. Raises `ConfigError`: ``Cannot open config file PATH: REASON``."""
    try:
        return _read(path)
    except OSError as error:
        raise ConfigError(f"Cannot open config file {path}: {error.strerror}", path) from error


def _read(path: str) -> str:
    return Path(path).read_bytes().decode("utf-8", "surrogateescape")


def write_atomic(path: str, data: str | bytes, *, mode: int | None = None, durable: bool = True) -> None:
    """Replace a file as a whole, or make it. Readers see the old content or the new one, never a part.

    Mode and owner of an existing file are kept, and a symbolic link keeps pointing to it. ``mode`` is that
    of a new file (less the umask; default 0666). ``durable`` waits until the content is on disk. Raises
    `ConfigError`; then nothing has changed.
    """
    content = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    try:
        _replace_file(os.path.realpath(path), content, 0o666 if mode is None else mode, durable)
    except OSError as error:
        raise ConfigError(f"Cannot write {path}: {error.strerror}", path) from error


def _replace_file(path: str, content: bytes, mode: int, durable: bool) -> None:
    temporary = f"{path}.{os.urandom(6).hex()}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
            with contextlib.suppress(FileNotFoundError):
                _copy_mode_and_owner(os.stat(path), descriptor)  # noqa: PTH116 - plain strings here
            file.write(content)
            file.flush()
            if durable:
                os.fsync(descriptor)
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)  # noqa: PTH108
        raise


def _copy_mode_and_owner(old: os.stat_result, descriptor: int) -> None:
    new = os.fstat(descriptor)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        with contextlib.suppress(PermissionError):  # not root: the file becomes ours
            os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


@dataclass(frozen=True, slots=True)
class HostFile:
    """The content of a host file. ``problem`` says why it could not be read to its end, if so."""

    pool: Pool
    """The entries of the command line for this node, then those of the file up to the problem."""
    text: str
    problem: ConfigError | None


class ConfigTree:
    """The configuration directory ``confbase`` and the ``-o`` options that add to it.

    Raises `ConfigError` for an option without a value. ``confbase`` may be relative or, in a chroot, empty.
    """

    def __init__(self, confbase: str, options: Sequence[str] = ()) -> None:
        self.confbase = confbase
        self._options: dict[str | None, list[Entry]] = {}
        for number, option in enumerate(options, 1):
            node, entry = parse_option(option, number)
            self._options.setdefault(node, []).append(entry)

    # -- Paths ---------------------------------------------------------------------------------------------

    def path(self, relative: str) -> str:
        """Return the path of a file of the configuration; an absolute path is returned unchanged."""
        return relative if relative.startswith("/") else f"{self.confbase}/{relative}"

    def host_path(self, name: str) -> str:
        """Return the path of a host file. Raises `ConfigError` if ``name`` is not a node name."""
        return self.path(f"hosts/{_checked(name)}")

    def private_key_path(self) -> str:
        """Return the path of the own private key, which need not exist. Raises `ConfigError`.

        See docs/protocol-sptps.md, "Where keys are kept".
        """
        entry = self.own_pool().first("Ed25519PrivateKeyFile")
        return private_key_credential() or self.path(_DEFAULT_PRIVATE_KEY if entry is None else entry.value)

    # -- Own configuration ---------------------------------------------------------------------------------

    def read_server(self) -> Pool:
        """Read the server configuration: options, tinc.conf, conf.d. Raises `ConfigError` for errors."""
        entries = list(self._options.get(None, ()))
        for path in [self.path("tinc.conf"), *self._further_files()]:
            found, problem = parse_text(self._server_text(path), path)
            if problem is not None:
                raise problem
            entries += found
        return Pool(entries)

    def _server_text(self, path: str) -> str:
        try:
            return read_text(path)
        except ConfigError as error:
            if path == self.path("tinc.conf"):
                raise
            raise ConfigError(f"Failed to read {path}: {error}", path) from error

    def _further_files(self) -> list[str]:
        directory = self.path("conf.d")
        try:
            names = os.listdir(directory)  # noqa: PTH208 - names, not paths, are compared
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise ConfigError(f"Failed to read {directory}: {error.strerror}", directory) from error
        wanted = sorted(name for name in names if name.endswith(".conf") and name != ".conf")
        return [f"{directory}/{name}" for name in wanted]

    def own_name(self) -> str:
        """Return this node's name. Raises `ConfigError` without readable configuration or valid Name."""
        return own_name(self.read_server())

    def own_pool(self) -> Pool:
        """Return the own settings: server configuration and own host file in one pool."""
        server = self.read_server()
        return own_settings_pool(server, self.read_host(own_name(server)).pool)

    def load_settings(self, previous: Settings | None = None) -> Settings:
        """Read everything the daemon uses for itself.

        An invalid own host file is only reported in ``warnings``; its entries before the error count. For a
        reload pass the ``previous`` settings: see `pytinc.config.building.build_settings`. Raises
        `ConfigError`.
        """
        server = self.read_server()
        name = own_name(server)
        host = self.read_host(name)
        settings = build_settings(own_settings_pool(server, host.pool), name, previous)
        warnings = settings.warnings
        if host.problem is not None:
            warnings = (str(host.problem), *warnings)
        if settings.strict_virtual_ips:
            warnings += self._without_right(settings, host)
        return replace(settings, warnings=warnings)

    def _without_right(self, settings: Settings, host: HostFile) -> tuple[str, ...]:
        """Return a warning for each virtual IP that a host file does not allow; ``host`` is the own one."""
        held = {settings.name: held_addresses(host.pool)}
        found: list[str] = []
        for virtual_ip in settings.virtual_ips:
            for name, consequence in rights_needed(virtual_ip, settings.name):
                if name not in held:
                    held[name] = held_addresses(self.read_host(name).pool)
                if virtual_ip.address not in held[name]:
                    found.append(
                        f"{self.host_path(name)} has no line VirtualIP = {virtual_ip.address_text}: nodes "
                        f"with StrictVirtualIPs will not {consequence}"
                    )
        return tuple(found)

    def private_key_text(self) -> tuple[str, str, bool]:
        """Return text and path of the own private key file, and whether others than its owner may use it.

        A credential has whatever mode its manager chose: its directory guards it. Raises `ConfigError`.
        """
        path = self.private_key_path()
        try:
            with Path(path).open("rb") as file:
                guarded = path == private_key_credential()
                insecure = not guarded and os.fstat(file.fileno()).st_mode & 0o077 != 0
                return file.read().decode("utf-8", "surrogateescape"), path, insecure
        except OSError as error:
            complaint = f"Error reading Ed25519 private key file `{path}': {error.strerror}"
            raise ConfigError(complaint, path) from error

    # -- Host files ----------------------------------------------------------------------------------------

    def read_host(self, name: str) -> HostFile:
        """Read a node's host configuration, as far as it can be read. Raises only for an invalid name."""
        path = self.host_path(name)
        options = self._options.get(name, [])
        try:
            text = read_text(path)
        except ConfigError as error:
            return HostFile(Pool(options), "", error)
        entries, problem = parse_text(text, path)
        return HostFile(Pool([*options, *entries]), text, problem)

    def host_settings(self, name: str) -> HostSettings | None:
        """Return the settings of a peer; None if its host file cannot be read or has a line without a value.

        `read_host` returns the reason.
        """
        if not is_valid_name(name):
            return None
        host = self.read_host(name)
        if host.problem is not None:
            return None
        return build_host_settings(name, host.pool, self.public_key(host.pool, host.text))

    def public_key(self, pool: Pool, host_text: str) -> bytes | None:
        """Return the Ed25519 public key (32 bytes) of a host configuration.

        See docs/protocol-sptps.md, "Where keys are kept".

        ``pool`` is that of the host file, for the own node also `own_pool`. An invalid Ed25519PublicKey, or a
        key file without a key, means no key: there is no fallback from one place to the next.
        """
        entry = pool.first("Ed25519PublicKey")
        if entry is not None:
            return _parse_public_key(entry.value)
        entry = pool.first("Ed25519PublicKeyFile")
        try:
            text = host_text if entry is None else _read(self.path(entry.value))
            return read_block(text, _PUBLIC_KEY_BLOCK, PUBLIC_KEY_SIZE)
        except (OSError, DecodeError):
            return None

    def host_names(self) -> list[str]:
        """Return the names of all nodes with a host file, sorted; none if the directory is unreadable."""
        try:
            with os.scandir(self.path("hosts")) as found:
                return sorted(entry.name for entry in found if is_valid_name(entry.name) and entry.is_file())
        except OSError:
            return []

    def host_mtime(self, name: str) -> float | None:
        """Return when a host file was last modified (wall clock, seconds); None if there is none."""
        if not is_valid_name(name):
            return None
        try:
            return Path(self.host_path(name)).stat().st_mtime
        except OSError:
            return None

    def append_public_key(self, name: str, key_text: str) -> None:
        """Add a learned public key to a node's host file. Raises `ConfigError`.

        See docs/tinc-program.md, "Configuration files".

        Nothing is done without a host file, because only the operator decides who may log in. Nor is
        anything done if the file is bad or names a key, even an unusable one: a further line would not count.
        """
        path = self.host_path(name)
        try:
            text = _read(path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConfigError(f"Cannot open config file {path}: {error.strerror}", path) from error
        entries, problem = parse_text(text, path)
        pool = Pool(entries)
        if problem is not None or pool.first("Ed25519PublicKey") or pool.first("Ed25519PublicKeyFile"):
            return
        if text and not text.endswith("\n"):
            text += "\n"
        write_atomic(path, f"{text}\n{_ADDED_BY_US}\nEd25519PublicKey = {key_text}\n")

    # -- Invitations (docs/protocol-invitations.md, "Inviter") -----------------------------------------------

    def invitation_key_text(self) -> str | None:
        """Return the text of the private key file of open invitations; None if there is none.

        Raises `ConfigError`.
        """
        path = self.path(INVITATION_KEY)
        try:
            return _read(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(f"Cannot open {path}: {error.strerror}", path) from error

    def take_invitation(self, file_name: str) -> tuple[bytes, float] | None:
        """Rename an open invitation so that nobody can use it again; return its content and when it was made.

        The time is wall-clock time in seconds. None if there is no such file. Raises `ConfigError`.
        """
        path = self.path(f"invitations/{file_name}")
        try:
            os.rename(path, f"{path}{_TAKEN}")  # noqa: PTH104
            with Path(f"{path}{_TAKEN}").open("rb") as file:
                content = file.read(MAX_INVITATION_SIZE + 1)
                modified = os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(f"Cannot open invitation {path}: {error.strerror}", path) from error
        if len(content) > MAX_INVITATION_SIZE:
            raise ConfigError(f"Invitation {path} is longer than {MAX_INVITATION_SIZE} bytes", path)
        return content, modified

    def forget_taken(self, file_name: str) -> None:
        """Remove a taken invitation. Raises `ConfigError`."""
        path = self.path(f"invitations/{file_name}{_TAKEN}")
        try:
            os.unlink(path)  # noqa: PTH108
        except OSError as error:
            raise ConfigError(f"Cannot remove {path}: {error.strerror}", path) from error

    def add_host(self, name: str, public_key: str) -> bool:
        """Make the host file of a new node as a whole; False if it exists already. Raises `ConfigError`."""
        path = self.host_path(name)
        temporary = f"{path}.{os.urandom(6).hex()}.tmp"
        write_atomic(temporary, f"Ed25519PublicKey = {public_key}\n")
        try:
            os.link(temporary, path)  # unlike a rename, a link does not replace a file
        except FileExistsError:
            return False
        except OSError as error:
            raise ConfigError(f"Cannot write {path}: {error.strerror}", path) from error
        finally:
            os.unlink(temporary)  # noqa: PTH108
        return True

    # -- Address caches ------------------------------------------------------------------------------------

    def load_address_cache(self, name: str) -> tuple[Address, ...]:
        """Return a node's cached addresses, most recent first; none if the file is missing or not ours."""
        from pytinc.wire.address_cache import unpack_addresses

        try:
            return unpack_addresses(Path(self._cache_path(name)).read_bytes())
        except (OSError, ConfigError, DecodeError):
            return ()

    def save_address_cache(self, name: str, addresses: Iterable[Address]) -> None:
        """Cache the addresses of a node, most recent first. Raises `ConfigError`."""
        from pytinc.wire.address_cache import pack_addresses

        path = self._cache_path(name)
        with contextlib.suppress(OSError):  # the write reports any error
            Path(path).parent.mkdir(mode=0o755, exist_ok=True)
        # No wait for the disk: without the file the node only has to find the addresses again.
        write_atomic(path, pack_addresses(addresses), durable=False)

    def _cache_path(self, name: str) -> str:
        return self.path(f"cache/{_checked(name)}")


def _checked(name: str) -> str:
    """Return ``name`` if it is a node name: only node names may become part of a path."""
    if not is_valid_name(name):
        raise ConfigError(f"Invalid name for node {name!r}")
    return name


def _parse_public_key(text: str) -> bytes | None:
    if len(text) != PUBLIC_KEY_TEXT_LENGTH:
        return None
    try:
        key = b64.decode(text)
    except DecodeError:
        return None
    return key if len(key) == PUBLIC_KEY_SIZE else None
