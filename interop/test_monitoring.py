"""The real Prometheus takes a real node's metrics, the alert rules, and each question of the dashboard.

``make view-test`` runs them beside the tests of the page.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, wait_until
from shared_address import addresses

CASTS = ("PC",)
ROLES = ("watched", "other")
MONITORING = Path(__file__).parents[1] / "docs/monitoring"
PORT = 9655
SERVER = "127.0.0.1:9090"
CONFIGURATION = """\
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: pytinc
    static_configs:
      - targets: ["127.0.0.1:{port}"]
"""

Query = Callable[..., Any]


@pytest.fixture(scope="module")
def network(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Network:
    if not os.environ.get("PYTINC_INTEROP_VIEW"):
        pytest.skip("the tests with Prometheus are slow: make view-test runs them")
    if cast[0] is Kind.C:
        pytest.skip("tincd has no metrics")
    if shutil.which("prometheus") is None:
        pytest.skip("Prometheus is not installed: interop/setup.sh view installs it")
    network = new_network()
    for number, (role, kind) in enumerate(zip(ROLES, cast, strict=True), 1):
        network.add(role, kind, addresses(number), () if role == "watched" else ("watched",))
    network.exchange_keys()
    network["watched"].add_lines("tinc.conf", [("MetricsListen", f"127.0.0.1:{PORT}")])
    network.start()
    network.wait_converged()
    return network


@pytest.fixture(scope="module")
def query(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Query]:
    """Asks a Prometheus on the node's host."""
    directory = tmp_path_factory.mktemp("prometheus")
    file = directory / "prometheus.yml"
    file.write_text(CONFIGURATION.format(rules=MONITORING / "pytinc-alerts.yml", port=PORT))
    host = network["watched"].host
    program = str(shutil.which("prometheus"))
    words = [f"--config.file={file}", f"--storage.tsdb.path={directory}", f"--web.listen-address={SERVER}"]
    process = host.spawn(program, *words, output=subprocess.DEVNULL)

    def ask(path: str, **values: str) -> Any:
        url = f"http://{SERVER}/api/v1/{path}?{urlencode(values)}"
        code = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1]).read().decode())"
        told = json.loads(host.run("python3", "-c", code, url).stdout)
        assert told["status"] == "success"
        return told["data"]

    def is_there() -> bool:
        return bool(ask("query", query="pytinc_info")["result"])

    try:
        wait_until(is_there, PATIENCE_S, "Prometheus has metrics")
        yield ask
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)


def test_every_rule_is_loaded_and_well(query: Query) -> None:
    def are_evaluated() -> bool:
        groups = query("rules")["groups"]
        return all(rule["health"] != "unknown" for group in groups for rule in group["rules"])

    wait_until(are_evaluated, PATIENCE_S, "all rules are evaluated")
    found = [rule for group in query("rules")["groups"] for rule in group["rules"]]
    assert len(found) > 10
    assert {(rule["health"], rule.get("lastError", "")) for rule in found} == {("ok", "")}
    assert [rule["name"] for rule in found if rule["state"] == "firing"] == []


def test_every_question_of_the_dashboard_has_an_answer(query: Query) -> None:
    dashboard = json.loads((MONITORING / "pytinc-dashboard.json").read_text())
    answered = 0
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            text = target["expr"].replace("$instance", ".*").replace("$__rate_interval", "5s")
            answered += bool(query("query", query=text)["result"])
    assert answered > 15


def test_a_node_that_stops_is_seen(query: Query, network: Network) -> None:
    text = 'pytinc_peer_reachable{peer="other"}'

    def value() -> str:
        return str(query("query", query=text)["result"][0]["value"][1])

    def state(alert: str) -> str:
        found = query("rules")["groups"][0]["rules"]
        return str(next(rule["state"] for rule in found if rule["name"] == alert))

    wait_until(lambda: value() == "1", PATIENCE_S, "the other node is reachable")
    network["other"].stop()
    try:
        wait_until(lambda: value() == "0", PATIENCE_S, "the other node is unreachable")
        wait_until(lambda: state("PytincNodeUnreachable") == "pending", PATIENCE_S, "the alert waits")
    finally:
        network["other"].start()
