"""The dashboard and the alert rules in docs/monitoring: what they ask for exists, and promtool takes them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from net.daemon_stats import BETA, daemon
from net.test_metrics import POLICY, samples
from pytinc.control.statistics import DROPS
from pytinc.net.metrics import exposition
from pytinc.node.path_kind import PathKind
from pytinc.vip.views import GuardCounters, GuardSummary
from pytinc.wire.requests import Number

FOLDER = Path(__file__).parents[1] / "docs/monitoring"
DASHBOARD = FOLDER / "pytinc-dashboard.json"
RULES = FOLDER / "pytinc-alerts.yml"
RULE_TESTS = FOLDER / "pytinc-alerts-test.yml"
COLUMNS = 24


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return loaded


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def expressions() -> Iterator[str]:
    for panel in panels():
        yield from (target["expr"] for target in panel["targets"])
    yield from (rule["expr"] for rule in rules())


def test_every_metric_is_exported() -> None:
    guard = GuardSummary(1, 1, 0.5, GuardCounters())
    exported = {key[0] for key in samples(exposition(daemon(BETA, guard=guard, policy=POLICY)))}
    asked = {name for text in expressions() for name in re.findall(r"\bpytinc_\w+", text)}
    assert len(asked) > 30
    assert asked <= exported


def test_every_value_of_a_label_that_is_asked_for_can_occur() -> None:
    known = {
        "path": {kind.value for kind in PathKind},
        "reason": set(DROPS),
        "request": {number.name for number in Number},
        "direction": {"in", "out"},
        "job": {"pytinc"},
        "instance": {"$instance"},
    }
    for text in expressions():
        for label, value in re.findall(r'(\w+)=~?"([^"]*)"', text):
            wanted = re.compile(value)
            assert label in known, text
            assert any(wanted.fullmatch(word) for word in known[label]) or value in known[label], text


def test_the_panels_lie_on_the_grid_and_not_upon_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= COLUMNS
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


def test_the_dashboard_can_be_imported_with_any_data_source() -> None:
    loaded = dashboard()
    assert len({panel["id"] for panel in loaded["panels"]}) == len(loaded["panels"])
    assert {"title", "uid", "schemaVersion", "templating", "time"} <= loaded.keys()
    variables = {variable["name"]: variable for variable in loaded["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    for panel in panels():
        assert panel["type"] in ("stat", "timeseries", "state-timeline")
        references = [target["refId"] for target in panel["targets"]]
        assert references == sorted(set(references))
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            assert set(re.findall(r"\$(\w+)", target["expr"])) <= {*variables, "__rate_interval"}


def test_every_rule_tells_people_what_it_means() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    for rule in rules():
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}


def promtool(*words: str) -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed: interop/setup.sh view installs it")
    done = subprocess.run([program, *words], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_takes_the_rules() -> None:
    assert f"{len(rules())} rules found" in promtool("check", "rules", RULES.name)


def test_the_rules_fire_when_they_should_and_not_before() -> None:
    assert "SUCCESS" in promtool("test", "rules", RULE_TESTS.name)
