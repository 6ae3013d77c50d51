"""Interop tests: networks of C and pytinc nodes in namespaces, driven through their own command lines.

A test module lists in ``CASTS`` the combinations of daemons that it is run with: one letter per role, C for
the real tincd and P for pytinc. ``pytest interop --control`` runs everything with C nodes only, which checks
the tests and the lab themselves.

Building a network is slow, so each module builds one, and its tests use it one after the other. A test that
breaks something repairs it before it ends.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from pytinc.lab.namespaces import Lab, LabError, missing_means
from pytinc.lab.network import Network
from pytinc.lab.node import Kind

KINDS = {"C": Kind.C, "P": Kind.PY}
LONGEST = (
    "test_containers", "test_shared_address", "test_shared_clients", "test_shared_address_odd", "test_mesh",
    "test_router", "test_devices", "test_paths", "test_guardians", "test_capture", "test_transfer",
    "test_chaos", "test_howto", "test_modes", "test_proxy", "test_commands",
)  # fmt: skip
"""Modules that take about a minute or more. They start first: the run must not end with one of them alone."""
BUG = re.compile(r"Traceback|Unexpected \w+(Error|Exception)")
Cast = tuple[Kind, ...]

_networks: list[Network] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--control", action="store_true", help="run with C nodes only, to check the tests themselves"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "mixed: not run when all nodes are pytinc's, because it would show nothing new"
    )


def _cast_id(letters: str) -> str:
    return "-".join({"C": "tincd", "P": "pytincd"}[letter] for letter in letters)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with each cast of its module."""
    if "cast" not in metafunc.fixturenames:
        return
    casts = list(metafunc.module.CASTS)
    if metafunc.config.getoption("--control"):
        casts = ["C" * len(casts[0])]
    elif metafunc.definition.get_closest_marker("mixed"):
        casts = [letters for letters in casts if "C" in letters]
    metafunc.parametrize(
        "cast", [tuple(KINDS[letter] for letter in letters) for letters in casts], ids=map(_cast_id, casts),
        indirect=True, scope="module",
    )  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests, and put the modules that take minutes first."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))
    for item in items:
        item.add_marker(pytest.mark.namespaces)
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="module")
def cast(request: pytest.FixtureRequest) -> Cast:
    """The kinds of the nodes, one per role."""
    kinds: Cast = request.param
    return kinds


@pytest.fixture(scope="module")
def lab(cast: Cast) -> Iterator[Lab]:
    """An empty lab, a new one for each cast."""
    means = missing_means()
    if means is not None:
        pytest.skip(means)
    with Lab() as lab:
        yield lab


@pytest.fixture
def own_lab(cast: Cast) -> Iterator[Lab]:
    """An empty lab for one test that builds something that other tests cannot use."""
    means = missing_means()
    if means is not None:
        pytest.skip(means)
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def new_network(lab: Lab, cast: Cast) -> Iterator[Callable[..., Network]]:
    """A function that makes a network with the settings given to it; its logs are shown when a test fails."""
    yield from _network_maker(lab, cast)


@pytest.fixture
def own_network(own_lab: Lab, cast: Cast) -> Iterator[Callable[..., Network]]:
    """A function that makes a network in the lab of one test."""
    yield from _network_maker(own_lab, cast)


def _network_maker(lab: Lab, cast: Cast) -> Iterator[Callable[..., Network]]:
    for kind in set(cast):
        try:
            kind.programs()
        except LabError as error:
            # Only tincd may be missing; pytinc itself must be there.
            if kind is Kind.C:
                pytest.skip(str(error))
            raise

    def make(*settings: tuple[str, str]) -> Network:
        network = Network(lab, settings)
        _networks.append(network)
        return network

    yield make
    _networks.clear()


@pytest.fixture(autouse=True)
def _no_traceback() -> Iterator[None]:
    """Check that no daemon logged a traceback, or the line that pytincd logs instead of one after a bug."""
    yield
    for network in _networks:
        for node in network:
            assert not BUG.search(node.log()), f"{node.name}:\n{node.log_tail()}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the ends of all logs with a failure; PYTINC_INTEROP_LOGS=DIR also copies the whole logs to DIR."""
    report = yield
    if report.failed:
        report.sections.extend(("logs of the nodes", network.logs()) for network in _networks)
        directory = os.environ.get("PYTINC_INTEROP_LOGS")
        if directory:
            _copy_logs(directory, item.name)
    return report


def _copy_logs(directory: str, test: str) -> None:
    for network in _networks:
        for node in network:
            target = Path(directory) / test / f"{node.name}.log"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(node.log())
