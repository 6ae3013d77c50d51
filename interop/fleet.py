"""Hosts that Ansible can reach: each a namespace of the lab with a Debian of its own and a real sshd.

The Debians are made once by debootstrap (``interop/make-base.sh``), one for each `Init`; each host has an
overlay over its own, and a ``/run``, ``/dev`` and process ids of its own. The hosts have no way out of the
lab. A further host, the controller, has the files of this machine and runs Ansible. Used by
``interop/test_ansible*.py``.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from howto.images import REPOSITORY, base_system, dependencies, tinc_package
from own_root import BECOME_SYSTEMD, OWN_ROOT, PATH
from pytinc.lab.namespaces import Completed, Host, Lab, LabError, run
from pytinc.lab.node import PATIENCE_S, wait_until

PACKAGES: Final = (
    "python3", "python3-venv", "python3-apt", "openssh-server", "iproute2", "iputils-ping", "procps",
)  # fmt: skip
PLAY_LIMIT_S: Final = 1800.0
SSH_LIMIT_S: Final = 300.0
"""A busy machine may take long for a login; what is waited for has its own patience."""
BOOT_S: Final = 2 * PATIENCE_S
SSHD_CONFIG: Final = """\
AuthorizedKeysFile /etc/ssh/fleet_key.pub
HostKey /etc/ssh/fleet_host_key
PermitRootLogin prohibit-password
PidFile none
StrictModes no
Subsystem sftp internal-sftp
UsePAM no
"""
START: Final = f"""\
set -eu
mount -t tmpfs -o mode=0755 fleet "$WORK"
mkdir "$WORK/upper" "$WORK/work" "$WORK/root"
{OWN_ROOT}mkdir run/sshd
ln -s /proc/self/fd/0 dev/stdin
cp "$KEYS"/sshd_config "$KEYS"/fleet_key.pub "$KEYS"/fleet_host_key etc/ssh/
eval "$INIT"
"""
"""What process 1 of a host does; the mounts go away with it."""
IN_CGROUP: Final = """\
set -eu
mkdir "$WORK" "$WORK.cgroups"
mount -t cgroup2 cgroup2 "$WORK.cgroups"
mkdir "$WORK.cgroups/$GROUP"
echo $$ >"$WORK.cgroups/$GROUP/cgroup.procs"
exec "$@"
"""
"""Runs a command in a cgroup of its own: systemd makes cgroups for its units."""
REMOVE_CGROUPS: Final = """\
set -eu
mount -t cgroup2 cgroup2 "$1"
cd "$1"
shift
for group in "$@"; do
    [ ! -e "$group" ] || find "$group" -depth -type d -exec rmdir {} +
done
"""


class Init(Enum):
    """What is process 1 of a host: the packages for it, and how the script `START` becomes it."""

    SSHD = ((), "exec chroot . /usr/sbin/sshd -D -e")
    SYSTEMD = (
        ("systemd-sysv", "dbus"),
        """\
for unit in systemd-udevd.service systemd-networkd.service systemd-resolved.service console-getty.service \
    getty.target apt-daily.timer apt-daily-upgrade.timer; do
    ln -sf /dev/null "etc/systemd/system/$unit"
done
"""
        + BECOME_SYSTEMD,
    )
    OPENRC = (
        ("openrc",),
        """\
mkdir dev/shm dev/pts
exec chroot . /sbin/openrc-init default
""",
    )

    def __init__(self, packages: tuple[str, ...], command: str) -> None:
        self.packages, self.command = packages, command


def missing() -> str | None:
    """Return why no fleet can be made here, or None."""
    for tool, package in {"debootstrap": "debootstrap", "ssh": "openssh-client"}.items():
        if shutil.which(tool) is None:
            return f"{tool} is not installed (Debian's package {package})"
    if not (Path(sys.executable).parent / "ansible-playbook").exists():
        return "ansible-core is not installed (make ansible installs it)"
    return None


class Fleet:
    """The hosts and the controller of a lab; use it in ``with``.

    Raises LabError if a Debian cannot be made.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.directory = lab.directory / "fleet"
        self.keys = self.directory / "keys"
        self.hosts: dict[str, Host] = {}
        self.addresses: dict[str, str] = {}
        self.wheels = ""
        self.printed: list[str] = []
        """What all plays have printed."""
        self.bases: dict[Init, Path] = {}
        self.keys.parent.mkdir()
        self._make_keys()
        self.controller = lab.host("controller")
        self.controller.run("ip", "address", "add", "172.18.3.250/24", "dev", "eth0")
        self._set_ansible_up()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all hosts, and remove their cgroups; the lab does the rest."""
        for host in self.hosts.values():
            host.end_processes()
        if groups := [host.namespace for host in self.hosts.values()]:
            point = self.directory / "cgroups"
            point.mkdir()
            words = ("unshare", "--mount", "sh", "-c", REMOVE_CGROUPS, "sh", str(point), *groups)
            # The processes may still be about to end.
            wait_until(lambda: run(*words, check=False).returncode == 0, PATIENCE_S, "the end of the cgroups")

    def _make_keys(self) -> None:
        self.keys.mkdir()
        for name in ("fleet_key", "fleet_host_key"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.keys / name))
        (self.keys / "sshd_config").write_text(SSHD_CONFIG)

    def _set_ansible_up(self) -> None:
        (self.directory / "ansible.cfg").write_text(
            "[defaults]\n"
            f"collections_path = {self.directory}/collections\n"
            "host_key_checking = false\n"
            "interpreter_python = /usr/bin/python3\n"
            f"private_key_file = {self.keys}/fleet_key\n"
            "remote_user = root\n"
            "forks = 8\n"
            # A busy machine may take long for a login.
            "timeout = 120\n"
            "[ssh_connection]\n"
            f"control_path_dir = {self.directory}/cp\n"
            "pipelining = true\n"
        )
        collection = shlex.quote(str(REPOSITORY / "ansible"))
        self.ansible(f"ansible-galaxy collection install --offline -p collections {collection}")
        for name in ("adhoc.yaml", "adhoc.sh"):
            shutil.copy(REPOSITORY / "ansible/playbooks" / name, self.directory)

    def _base(self, init: Init) -> Path:
        if init not in self.bases:
            base = self.bases[init] = self.directory / f"base-{init.name.lower()}"
            base.mkdir()
            packages = (*PACKAGES, *init.packages, *dependencies(tinc_package()))
            run("tar", "-C", str(base), "-xf", str(base_system(packages)), timeout=600)
        return self.bases[init]

    def add(self, name: str, address: str, init: Init = Init.SSHD) -> Host:
        """Start a host and its sshd at this address."""
        host = self.hosts[name] = self.lab.host(name)
        self.addresses[name] = address
        host.run("ip", "address", "add", f"{address}/24", "dev", "eth0")
        work = self.directory / name
        values = {
            "WORK": work, "BASE": self._base(init), "KEYS": self.keys, "SYSFS": "ro",
            "GROUP": host.namespace, "PATH": PATH, "INIT": init.command,
        }  # fmt: skip
        environment = (f"{key}={value}" for key, value in values.items())
        with (self.directory / f"{name}.log").open("w") as log:
            host.spawn(
                "env", "-i", *environment, "sh", "-c", IN_CGROUP, "sh",
                "unshare", "--mount", "--pid", "--cgroup", "--ipc", "--uts", "--fork", "--kill-child",
                "sh", "-c", START, output=log,
            )  # fmt: skip
        try:
            wait_until(lambda: self.ssh(name, "true").returncode == 0, BOOT_S, f"sshd of {name}")
        except LabError as error:
            raise LabError(f"{error}\n{(self.directory / f'{name}.log').read_text()}") from error
        return host

    def ssh(self, name: str, command: str) -> Completed:
        """Run a command line on a host as Ansible would, from the controller."""
        return self.controller.run(*self._ssh_words(name), command, check=False, timeout=SSH_LIMIT_S)

    def ssh_spawn(self, name: str, command: str, output: IO[str]) -> subprocess.Popen[str]:
        """Start a command line on a host and return at once."""
        return self.controller.spawn(*self._ssh_words(name), command, output=output)

    def _ssh_words(self, name: str) -> tuple[str, ...]:
        return (
            "ssh", "-F", "none", "-i", str(self.keys / "fleet_key"), "-o", "StrictHostKeyChecking=no",
            "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", f"root@{self.addresses[name]}",
        )  # fmt: skip

    def ansible(self, command: str, *, check: bool = True) -> Completed:
        """Run a shell command at the controller, in the directory of ``adhoc.yaml`` and ``hosts.yaml``."""
        environment = (
            f"HOME={self.directory}", f"PATH={Path(sys.executable).parent}:{os.environ['PATH']}",
            "LC_ALL=C.UTF-8", "ANSIBLE_NOCOLOR=1",
        )  # fmt: skip
        return self.controller.run(
            "env", "-i", *environment, "sh", "-c", f"cd {shlex.quote(str(self.directory))} && {command}",
            check=check, timeout=PLAY_LIMIT_S,
        )  # fmt: skip

    def adhoc(self, words: str, *, check: bool = True) -> Play:
        """Type a line of the how-to, without the word ``adhoc``. With ``check``, failures raise LabError."""
        play = Play(self.ansible(f". ./adhoc.sh && adhoc {words}", check=False))
        self.printed.append(play.output)
        print(play.output)  # pytest shows it if a test fails
        if check and play.status != 0:
            raise LabError(f"adhoc {words}:\n{play.output}")
        return play

    def set_variables(self, **variables: object) -> None:
        """Write these variables for all hosts, beside the playbook; JSON is YAML."""
        directory = self.directory / "group_vars"
        directory.mkdir(exist_ok=True)
        (directory / "all.yml").write_text(json.dumps(variables))

    def wheelhouse(self, name: str, version: str | None = None) -> Path:
        """Make a directory of wheels of pytinc, which says that it is of this version, and of its needs."""
        directory = self.directory / name
        source = self.directory / f"{name}-source"
        shutil.copytree(REPOSITORY, source, ignore=shutil.ignore_patterns(".*", "interop", "benchmarks"))
        if version is not None:
            module = source / "src/pytinc/__init__.py"
            module.write_text(re.sub(r'__version__ = ".*"', f'__version__ = "{version}"', module.read_text()))
        run(
            sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(directory),
            f"{source}[manage]", timeout=1200,
        )  # fmt: skip
        return directory


class Play:
    """What a run of a playbook printed, and its recap."""

    def __init__(self, done: Completed) -> None:
        self.status = done.returncode
        self.output = done.stdout + done.stderr
        self.recap = {
            match[1]: {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", match[2])}
            for match in re.finditer(r"^(\S+)\s+: (ok=.*)$", done.stdout, re.MULTILINE)
        }

    @property
    def changed(self) -> int:
        """How many tasks changed something, on all hosts."""
        return sum(counts["changed"] for counts in self.recap.values())
