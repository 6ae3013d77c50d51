"""The stream of `pytinc view` about real daemons of both kinds, without a browser (test_view.py has one)."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from browser import viewing
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node

CASTS = ("PC", "CP")
ROLES = ("watched", "other")

Message = tuple[str, Any]


@pytest.fixture(scope="module")
def network(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Network:
    network = new_network()
    for role, kind in zip(ROLES, cast, strict=True):
        network.add(role, kind, (), () if role == "watched" else ("watched",))
    network.exchange_keys()
    network.start()
    network.wait_converged()
    return network


@contextmanager
def watching(node: Node) -> Iterator[Iterator[Message]]:
    """Watch as a browser does; yields the messages of the stream."""
    with viewing(node.pidfile) as (url, _):
        place = urlsplit(url)
        connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=PATIENCE_S)
        try:
            connection.request("GET", f"/?{place.query}")
            with connection.getresponse() as answer:
                cookie = str(answer.headers["set-cookie"]).partition(";")[0]
                page = answer.headers["location"]
                answer.read()
            connection.request("GET", f"{page}stream", headers={"Cookie": cookie})
            with connection.getresponse() as stream:
                yield messages(stream)
        finally:
            connection.close()


def messages(stream: http.client.HTTPResponse) -> Iterator[Message]:
    """Yield kind and document of each message, a picture after each change as well."""
    shown: dict[str, Any] = {}
    kind = ""
    while line := stream.readline().decode():
        name, _, value = line.rstrip("\n").partition(": ")
        if name == "event":
            kind = value
        if name != "data":
            continue
        document = json.loads(value)
        if kind == "picture":
            shown = document
        elif kind == "change":
            kind, shown = "picture", changed(shown, document)
            document = shown
        yield kind, document


def changed(shown: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Return the picture after a change, as store.js makes it."""
    new = dict(shown)
    for name, value in change.items():
        if name in ("nodes", "edges", "addresses"):
            new[name] = {key: each for key, each in shown[name].items() if key not in value["gone"]}
            new[name].update(value["set"])
        else:
            new[name] = value
    return new


def wait_for(got: Iterator[Message], kind: str, such: Callable[[Any], object], what: str) -> Any:
    end = time.monotonic() + PATIENCE_S
    for name, document in got:
        if name == kind and such(document):
            return document
        assert time.monotonic() < end, what
    raise AssertionError(f"the stream has ended: {what}")


def test_both_nodes_and_their_link_are_shown(network: Network) -> None:
    is_pytinc = network["watched"].kind is Kind.PY
    with watching(network["watched"]) as got:
        picture = wait_for(
            got, "picture", lambda told: told["nodes"]["other"]["path"] == "udp", "UDP to the other node"
        )
        assert set(picture["nodes"]) == set(ROLES)
        assert picture["nodes"]["watched"]["self"]
        assert picture["nodes"]["other"]["reachable"]
        assert picture["edges"]["other watched"]["edges"] == 2
        assert [each["name"] for each in picture["connections"]] == ["other"]
        assert picture["about"]["program"] == ("pytincd" if is_pytinc else "tincd")
        assert (picture["health"] is not None) is is_pytinc
        state = wait_for(got, "state", lambda told: told["events"] is not None, "whether there are events")
        assert state["events"] is is_pytinc
        assert state["problem"] == ""


def test_a_daemon_that_is_restarted_is_shown_again(network: Network) -> None:
    watched = network["watched"]
    with watching(watched) as got:
        before = wait_for(got, "picture", bool, "a picture")["about"]["pid"]
        watched.stop()
        state = wait_for(got, "state", lambda told: told["problem"], "the daemon is missing")
        assert "pid file" in state["problem"] or "tincd" in state["problem"]
        watched.start()
        picture = wait_for(got, "picture", lambda told: told["about"]["pid"] != before, "the new daemon")
        assert picture["about"]["pid"] == watched.pid()
        if watched.kind is Kind.PY:
            wait_for(got, "events", lambda told: told[-1]["kind"] != "gap" and told[0]["seq"] >= 1, "events")
    network.wait_converged()
