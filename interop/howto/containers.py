"""Machines made of Docker containers: the how-to's second backend.

Each play has an ``--internal`` network of its own. The containers are made from the real images, but no
daemon runs in them at first: they are machines at which a person starts to type.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Final

from howto.engine import Engine
from howto.machines import Backend, Machine
from pytinc.lab.namespaces import COMMAND_TIMEOUT_S, Completed, LabError
from pytinc.lab.node import Kind

UNDERLAY: Final = "198.51.100"  # TEST-NET-2: these addresses exist nowhere else
SUBNET_SIZE: Final = 16
FIRST_HOST: Final = 2  # after the network's own address and the bridge's
MAX_HOSTS: Final = 13
RUN_OPTIONS: Final = ("--cap-add", "NET_ADMIN", "--device", "/dev/net/tun")


class Network:
    """A network of containers without a way out."""

    _numbers = itertools.count()

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        number = next(self._numbers) % (256 // SUBNET_SIZE)
        self._first = number * SUBNET_SIZE
        self._hosts = itertools.count(self._first + FIRST_HOST)
        self.name = engine.unique("net")
        subnet = f"{UNDERLAY}.{self._first}/28"
        engine.docker("network", "create", "--internal", "--subnet", subnet, self.name)
        self.containers: list[str] = []

    def run(self, name: str, image: str, *words: str, options: tuple[str, ...] = ()) -> tuple[str, str]:
        """Start a container with these words as its command; return its name and address. Raises LabError."""
        if len(self.containers) >= MAX_HOSTS:
            raise LabError(f"a network has at most {MAX_HOSTS} containers")
        container = self._engine.unique(name)
        address = f"{UNDERLAY}.{next(self._hosts)}"
        self.containers.append(container)
        self._engine.docker(
            "run", "--detach", "--name", container, "--hostname", name.replace("_", "-"),
            "--network", self.name, "--ip", address, *RUN_OPTIONS, *options, image, *words,
        )  # fmt: skip
        return container, address

    def close(self) -> None:
        """Remove the containers and the network; never raises."""
        self._engine.remove(*self.containers)
        self.containers.clear()
        self._engine.docker("network", "rm", self.name, check=False)


class ContainerMachine(Machine):
    """A container in which only the commands that are typed run."""

    def __init__(self, engine: Engine, network: Network, name: str, kind: Kind, image: str) -> None:
        self._engine = engine
        # --init: a daemon that detaches needs a process that adopts and reaps it.
        self.container, address = network.run(
            name, image, "infinity", options=("--init", "--entrypoint", "sleep", "--no-healthcheck")
        )
        super().__init__(name, kind, address)
        # On an ordinary machine root owns this directory; in the image it belongs to the image's user.
        self.run("chown", "root:root", "/etc/tinc")

    def run(
        self, *command: str, stdin: str | None = None, check: bool = True, timeout: float = COMMAND_TIMEOUT_S
    ) -> Completed:
        """Run a command in the container."""
        words = ("exec", "--interactive", self.container, *command)
        return self._engine.docker(*words, stdin=stdin, check=check, timeout=timeout)


class ContainerBackend(Backend):
    """The machines of one play of the how-to."""

    title = "docker"

    def __init__(self, engine: Engine, images: Mapping[Kind, str]) -> None:
        self._engine = engine
        self._images = images
        self.network = Network(engine)

    def machine(self, name: str, kind: Kind) -> Machine:
        """Start a container."""
        return ContainerMachine(self._engine, self.network, name, kind, self._images[kind])

    def close(self) -> None:
        """Remove the containers and the network."""
        self.network.close()
