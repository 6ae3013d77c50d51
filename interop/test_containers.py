"""The image of this repository, and the how-to played in Docker containers.

The module needs a Docker engine: one that runs already, or dockerd, which is then started for this module
only (`howto.engine`). Two casts are played; PYTINC_INTEROP_DOCKER=all adds the others.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import release
import yaml

from howto.containers import ContainerBackend, ContainerMachine, Network
from howto.engine import Engine
from howto.images import BUILD_ARGUMENTS, REPOSITORY, Images
from howto.machines import Backend, Machine
from howto.player import play
from howto.report import write
from howto.story import CASTS, NODES, Outcome, play_all
from pytinc.lab.namespaces import COMMAND_TIMEOUT_S, Completed, LabError, run
from pytinc.lab.node import PATIENCE_S, Kind, parse_nodes, wait_until

CONTROL = "CCCCC"
USUAL = ("CPCPP", "PPPPP")
NET = "mynet"
AT_ONCE_S = 30
"""A node that says goodbye is gone within this many seconds. One that just vanished would be missed only
after PingInterval, which is a minute."""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    try:
        engine = Engine()
    except LabError as error:
        pytest.skip(str(error))
    with engine:
        yield engine


@pytest.fixture(scope="module")
def images(engine: Engine) -> Mapping[Kind, str]:
    images = Images(engine)
    try:
        images.prepare()
    except LabError as error:
        pytest.skip(f"the images cannot be built here: {error}")
    return images.build()


# -- the how-to --


def chosen(config: pytest.Config) -> list[str]:
    if config.getoption("--control"):
        return [CONTROL]
    return list(CASTS) if os.environ.get("PYTINC_INTEROP_DOCKER") == "all" else list(USUAL)


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, engine: Engine, images: Mapping[Kind, str]
) -> dict[str, Outcome]:
    def make() -> Backend:
        return ContainerBackend(engine, images)

    casts = chosen(request.config)
    outcomes = play_all(make, casts)
    write(outcomes, "howto-docker")
    return dict(zip(casts, outcomes, strict=True))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("letters", list(CASTS), ids=[title.replace(" ", "-") for title in CASTS.values()])
def test_the_howto_works_in_containers(
    letters: str, request: pytest.FixtureRequest, pytestconfig: pytest.Config
) -> None:
    if letters not in chosen(pytestconfig):
        pytest.skip("not played in containers without PYTINC_INTEROP_DOCKER=all")
    outcome: Outcome = request.getfixturevalue("outcomes")[letters]
    assert outcome.passed, f"{dict(zip(NODES, letters, strict=True))}: {outcome.failure}\n{outcome.logs}"


# -- the page about containers --


class EngineMachine(Machine):
    """The machine of our own engine, with its network; ``docker`` there is a client of this engine."""

    def __init__(self, engine: Engine, directory: Path) -> None:
        super().__init__("host", Kind.PY, "")
        self._engine = engine
        self._directory = directory

    def run(
        self, *command: str, stdin: str | None = None, check: bool = True, timeout: float = COMMAND_TIMEOUT_S
    ) -> Completed:
        """Run a command there; its /run is a directory of the test."""
        mount = f'mount --bind {self._directory} /run && exec "$@"'
        words = ("unshare", "--mount", "--propagation", "private", "sh", "-c", mount, "sh", *command)
        environment = ("env", f"DOCKER_HOST={self._engine.address}")
        return run(*self._engine.enter(*environment, *words), stdin=stdin, check=check, timeout=timeout)


class EngineBackend(Backend):
    """The one machine that has our own engine."""

    title = "engine"

    def __init__(self, engine: Engine, directory: Path) -> None:
        self._machine = EngineMachine(engine, directory)

    def machine(self, name: str, kind: Kind) -> Machine:
        """Return the machine."""
        assert name == "host"
        return self._machine

    def close(self) -> None:
        """The page removes what it has made."""


@pytest.mark.timeout(600)
def test_the_commands_of_the_page_about_containers_do_what_it_says(
    engine: Engine, images: Mapping[Kind, str], tmp_path: Path
) -> None:
    if os.environ.get("PYTINC_DOCUMENTS") != "all":
        pytest.skip("takes long: make docs-test")
    if engine.address is None:
        pytest.skip("the page makes containers, volumes and an interface: not on the machine's own engine")
    engine.docker("tag", images[Kind.PY], "pytinc")
    backend = EngineBackend(engine, tmp_path)
    backend.machine("host", Kind.PY).run("ip", "link", "set", "dev", "lo", "up")
    play("containers.md", backend)


# -- the image, run as its documentation says --


@pytest.fixture
def network(engine: Engine) -> Iterator[Network]:
    network = Network(engine)
    yield network
    network.close()


@pytest.fixture
def hub(engine: Engine, images: Mapping[Kind, str], network: Network) -> ContainerMachine:
    """A running C node in its own container."""
    hub = ContainerMachine(engine, network, "hub", Kind.C, images[Kind.C])
    hub.tinc("-n", NET, "init", "hub")
    hub.append(f"/etc/tinc/{NET}/tinc.conf", "Mode = switch\n")
    hub.append(f"/etc/tinc/{NET}/hosts/hub", f"Address = {hub.address}\n")
    script = '#!/bin/sh\nip link set dev "$INTERFACE" up\nip address add 10.1.1.1/24 dev "$INTERFACE"\n'
    hub.write(f"/etc/tinc/{NET}/tinc-up", script, executable=True)
    hub.tinc("-n", NET, "start")
    return hub


def reachable(machine: ContainerMachine, name: str) -> bool:
    view = parse_nodes(machine.tinc("-n", NET, "dump", "nodes").stdout).get(name)
    return view is not None and view.reachable


def pings(machine: ContainerMachine, address: str) -> bool:
    return machine.run("ping", "-c", "1", "-W", "1", address, check=False).returncode == 0


def logs(engine: Engine, container: str) -> str:
    done = engine.docker("logs", container)
    return done.stdout + done.stderr


def exit_code(engine: Engine, container: str) -> int:
    return int(engine.docker("inspect", "--format", "{{.State.ExitCode}}", container).stdout)


def stop_and_wait_until_gone(engine: Engine, container: str, hub: ContainerMachine, name: str) -> None:
    engine.docker("stop", "--time", "50", container)
    assert exit_code(engine, container) == 0, logs(engine, container)
    wait_until(lambda: not reachable(hub, name), AT_ONCE_S, "the peer knows that the node is gone", 0.05)


@pytest.mark.timeout(600)
def test_a_container_joins_by_invitation_runs_without_root_and_says_goodbye(
    engine: Engine, images: Mapping[Kind, str], network: Network, hub: ContainerMachine
) -> None:
    url = hub.tinc("-n", NET, "invite", "box").stdout.split()[-1]
    environment = (f"PYTINC_NETWORK={NET}", f"PYTINC_INVITATION={url}", "PYTINC_ADDRESSES=10.1.1.5/24")
    options = tuple(word for variable in environment for word in ("--env", variable))
    container, _ = network.run("box", images[Kind.PY], "-d3", options=options)
    try:
        wait_until(
            lambda: reachable(hub, "box") and pings(hub, "10.1.1.5"),
            PATIENCE_S,
            "the container is in the network",
        )
    except LabError as error:
        pytest.fail(f"{error}\n{logs(engine, container)}")
    status = engine.docker("exec", container, "cat", "/proc/1/status").stdout
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert "0" not in fields["Uid"].split()
    assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 1 << 12 | 1 << 10
    # After a restart it uses the configuration that the first start made; the invitation is used up.
    engine.docker("restart", container)
    wait_until(lambda: reachable(hub, "box"), PATIENCE_S, "it is back after a restart")
    # Its new interface has another MAC address, and the hub's kernel would use the old one for a long time.
    hub.run("ip", "neigh", "flush", "dev", NET)
    wait_until(lambda: pings(hub, "10.1.1.5"), PATIENCE_S, "it answers after a restart")
    stop_and_wait_until_gone(engine, container, hub, "box")


@pytest.mark.timeout(600)
def test_a_container_runs_a_mounted_directory_and_leaves_the_owners_of_its_files_alone(
    engine: Engine, images: Mapping[Kind, str], network: Network, hub: ContainerMachine, tmp_path: Path
) -> None:
    mount = ("--volume", f"{tmp_path}:/etc/tinc")
    # Make the directory as a person would on the machine, as root.
    once = ("run", "--rm", "--network", "none", "--entrypoint", "pytinc", *mount, images[Kind.PY], "-n", NET)
    engine.docker(*once, "init", "box")
    for words in (("Mode", "switch"), ("ConnectTo", "hub")):
        engine.docker(*once, "add", *words)
    folder = tmp_path / NET
    (folder / "hosts/hub").write_text(hub.read(f"/etc/tinc/{NET}/hosts/hub"))
    hub.write(f"/etc/tinc/{NET}/hosts/box", (folder / "hosts/box").read_text())
    (folder / "tinc-up").write_text(
        '#!/bin/sh\nip link set dev "$INTERFACE" up\nip address add 10.1.1.5/24 dev "$INTERFACE"\n'
    )
    (folder / "tinc-up").chmod(0o755)
    container, _ = network.run("box", images[Kind.PY], options=mount)
    try:
        wait_until(
            lambda: reachable(hub, "box") and pings(hub, "10.1.1.5"),
            PATIENCE_S,
            "the container is in the network",
        )
    except LabError as error:
        pytest.fail(f"{error}\n{logs(engine, container)}")
    assert {path.stat().st_uid for path in (folder, *folder.rglob("*"))} == {0}
    stop_and_wait_until_gone(engine, container, hub, "box")


@pytest.mark.timeout(600)
def test_the_rights_in_compose_yaml_suffice_for_a_new_node(
    engine: Engine, images: Mapping[Kind, str], network: Network
) -> None:
    text = (REPOSITORY / "compose.yaml").read_text()
    names = re.findall(r"^      - ([A-Z_]+)\b", text, re.MULTILINE)
    assert names[0] == "ALL"  # what is dropped
    assert all(line in text for line in ("read_only: true", "no-new-privileges:true", "- /run", "- /tmp"))
    options = ["--cap-drop", "ALL", *(word for name in names[1:] for word in ("--cap-add", name))]
    options += [
        "--read-only",
        "--security-opt",
        "no-new-privileges:true",
        "--tmpfs",
        "/run",
        "--tmpfs",
        "/tmp",
    ]
    options += ["--volume", "/etc/tinc"]
    options += ["--init", "--env", "PYTINC_NAME=box", "--env", "PYTINC_ADDRESSES=10.1.1.5/24 10.1.1.10/24"]
    container, _ = network.run("box", images[Kind.PY], options=tuple(options))
    healthy = engine.docker("inspect", "--format", "{{index .Config.Healthcheck.Test 1}}", container).stdout
    check = ("exec", container, "sh", "-c", healthy.strip())
    try:
        wait_until(lambda: engine.docker(*check, check=False).returncode == 0, PATIENCE_S, "the daemon runs")
        shown = engine.docker("exec", container, "ip", "address", "show", "dev", NET).stdout
        assert "inet 10.1.1.5/24" in shown
        assert "inet 10.1.1.10/24" in shown
    except LabError as error:
        pytest.fail(f"{error}\n{logs(engine, container)}")


@pytest.mark.timeout(600)
def test_what_the_example_for_kubernetes_leaves_a_container_suffices(
    engine: Engine, images: Mapping[Kind, str], network: Network, tmp_path: Path
) -> None:
    manifest = yaml.safe_load_all((REPOSITORY / "docs/examples/kubernetes/pytinc.yaml").read_text())
    (container,) = list(manifest)[-1]["spec"]["template"]["spec"]["containers"]
    context = container["securityContext"]
    once = (
        "run", "--rm", "--network", "none", "--entrypoint", "/opt/pytinc/bin/pytinc", "--volume",
        f"{tmp_path}:/etc/tinc/{NET}", images[Kind.PY], "-n", NET,
    )  # fmt: skip
    engine.docker(*once, "init", "box", "--address", "10.1.1.5/24")
    engine.docker(*once, "set", "Port", "10655")
    options = [word for name in context["capabilities"]["drop"] for word in ("--cap-drop", name)]
    options += [word for name in context["capabilities"]["add"] for word in ("--cap-add", name)]
    options += ["--user", f"{context['runAsUser']}:{context['runAsGroup']}", "--read-only"]
    options += ["--security-opt", "no-new-privileges:true", "--tmpfs", "/run", "--tmpfs", "/tmp"]
    options += ["--volume", f"{tmp_path}:/etc/tinc/{NET}", "--entrypoint", container["command"][0]]
    number, _ = network.run("box", images[Kind.PY], *container["command"][1:], options=tuple(options))
    probe = ("exec", number, *container["livenessProbe"]["exec"]["command"])
    try:
        wait_until(lambda: engine.docker(*probe, check=False).returncode == 0, PATIENCE_S, "the daemon runs")
        shown = engine.docker("exec", number, "ip", "address", "show", "dev", NET).stdout
        assert "inet 10.1.1.5/24" in shown
    except LabError as error:
        pytest.fail(f"{error}\n{logs(engine, number)}")


@pytest.mark.timeout(600)
def test_a_node_is_started_by_hand_in_a_container_with_another_command(
    engine: Engine, images: Mapping[Kind, str], network: Network
) -> None:
    container, _ = network.run("box", images[Kind.PY], "tail", "-f", "/dev/null", options=("--init",))
    # The device node of a machine on which it is open to root only.
    engine.docker("exec", container, "chmod", "600", "/dev/net/tun")
    for words in (("init", "box"), ("set", "Mode", "switch"), ("start",)):
        engine.docker("exec", container, "pytinc", "-n", NET, *words)
    shown = engine.docker("exec", container, "ip", "link", "show", "dev", NET).stdout
    assert NET in shown


@pytest.mark.timeout(600)
def test_the_image_has_all_optional_libraries_and_says_what_it_is(
    engine: Engine, images: Mapping[Kind, str]
) -> None:
    code = "import httpx, lz4, lzallright, miniupnpc, numpy, prometheus_client, pyroute2, uvloop"
    python = ("run", "--rm", "--network", "none", "--entrypoint", "/opt/pytinc/bin/python", images[Kind.PY])
    engine.docker(*python, "-c", code)
    label = '{{index .Config.Labels "org.opencontainers.image.licenses"}}'
    shown = engine.docker("image", "inspect", "--format", label, images[Kind.PY]).stdout
    assert shown.strip() == "GPL-2.0-or-later"


@pytest.mark.timeout(600)
def test_a_release_has_the_image_as_a_file(
    engine: Engine, images: Mapping[Kind, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in engine.environment.items():
        monkeypatch.setenv(name, value)
    words = [f"{name}={value}" for name, value in BUILD_ARGUMENTS.items()]
    assert release.make_image("0.0.1", tmp_path, words) == ""
    (file,) = tmp_path.iterdir()
    assert "pytinc:0.0.1" in engine.docker("load", "--input", str(file)).stdout
    label = '{{index .Config.Labels "org.opencontainers.image.version"}}'
    assert engine.docker("image", "inspect", "--format", label, "pytinc:0.0.1").stdout.strip() == "0.0.1"


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--cap-add", "NET_ADMIN"), "--device /dev/net/tun"),
        (("--device", "/dev/net/tun"), "--cap-add NET_ADMIN"),
        (("--cap-add", "NET_ADMIN", "--device", "/dev/net/tun"), "mount /etc/tinc, or set PYTINC_INVITATION"),
    ],
)
def test_a_container_says_what_it_lacks(
    engine: Engine, images: Mapping[Kind, str], options: tuple[str, ...], message: str
) -> None:
    done: Completed = engine.docker(
        "run", "--rm", "--network", "none", *options, images[Kind.PY], check=False
    )
    assert done.returncode == 1
    assert message in done.stderr
