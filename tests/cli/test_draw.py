"""Pictures of the mesh, and that Graphviz takes what we write."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from cli.node_rows import ALPHA, BETA, DELTA, FAR, answer
from pytinc.cli import draw as draw_module
from pytinc.cli.draw import DIRECT, LINES, LOST_COLOUR, OTHER, OWN_COLOUR, RELAYED, TCP, picture
from pytinc.control.messages import EdgeRow, NodeRow
from pytinc.wire.address import UNSPEC

if TYPE_CHECKING:
    from cli.conftest import Run, ScriptedDaemon

NODES = answer(
    ALPHA,
    BETA,
    DELTA,
    FAR,
    "18 3 tcp 000000000003 192.168.77.9 port 655 0 0 0 0 7000000 1a tcp tcp 1 1518 0 1518 9 1000 0 0 0 0",
    "18 3 near 000000000005 192.168.77.5 port 655 0 0 0 0 7000000 9a beta near 2 1518 1400 1518 9 1000 0 0 0 0",  # noqa: E501
)
PAIRS = (("alpha", "beta", 1), ("alpha", "tcp", 0), ("beta", "far", 300), ("beta", "near", 5))
EDGES = (
    "".join(
        f"18 4 {one} {other} 10.0.0.1 port 655 unspec port unspec 700000c {weight}\n"
        for a, b, weight in PAIRS
        for one, other in ((a, b), (b, a))
    )
    + "18 4\n"
)
needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def dump(run: Run, daemon: ScriptedDaemon) -> Run:
    daemon.answers |= {"3": NODES, "4": EDGES}
    return lambda *words: run("-c", "conf", "--pidfile", daemon.pidfile, "dump", *words)


def lines_of(text: str) -> dict[frozenset[str], str]:
    return {
        frozenset((one, other)): colour
        for one, other, colour in re.findall(r'^ "(\w+)" -- "(\w+)" \[color = "([^"]+)"', text, re.MULTILINE)
    }


def mesh() -> str:
    nodes = [NodeRow.parse(line) for line in NODES.splitlines()[:-1]]
    return picture(nodes, [EdgeRow.parse(line) for line in EDGES.splitlines()[:-1]])


def test_each_kind_of_path_has_its_own_colour_and_style() -> None:
    assert lines_of(mesh()) == {
        frozenset(("alpha", "beta")): DIRECT.colour,
        frozenset(("alpha", "tcp")): TCP.colour,
        frozenset(("beta", "far")): OTHER.colour,
        frozenset(("beta", "near")): OTHER.colour,
        # No meta connections, but packets go there:
        frozenset(("alpha", "far")): RELAYED.colour,
        frozenset(("alpha", "near")): DIRECT.colour,
    }
    assert len({(line.colour, line.style) for line in LINES}) == len({line.style for line in LINES}) + 1
    assert len({line.colour for line in LINES}) == len(LINES)


def test_a_tcp_only_meta_connection_of_others_is_shown_as_such() -> None:
    edge = EdgeRow("x", "y", UNSPEC, UNSPEC, 0x2, 1)
    assert lines_of(picture([], [edge])) == {frozenset("xy"): TCP.colour}


def test_the_own_node_is_marked_and_unreachable_nodes_are_red() -> None:
    rows = dict(re.findall(r'^ "(\w+)" \[(.*)\];$', mesh(), re.MULTILINE))
    assert "doublecircle" in rows["alpha"]
    assert OWN_COLOUR in rows["alpha"]
    assert f'color = "{LOST_COLOUR}"' in rows["delta"]
    assert all("doublecircle" not in rows[name] for name in rows if name != "alpha")


def test_the_legend_explains_every_line() -> None:
    assert all(line.meaning in mesh() and line.colour in mesh() for line in LINES)


def test_names_cannot_break_the_picture() -> None:
    edge = EdgeRow('a"]; x', "b\\", UNSPEC, UNSPEC, 0, 1)
    assert '"a\\"]; x" -- "b\\\\"' in picture([], [edge])


@needs_dot
def test_a_picture_is_drawn_as_svg(dump: Run, tmp_path: Path) -> None:
    assert dump("graph", "--svg", "mesh.svg") == (0, "", "")
    root = ElementTree.parse(tmp_path / "mesh.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    text = (tmp_path / "mesh.svg").read_text()
    for name in ("alpha", "beta", "delta", "far", "tcp", "near"):
        assert f">{name}</text>" in text
    for line in LINES:
        assert f'stroke="{line.colour}"' in text
        assert line.meaning in text


@needs_dot
def test_a_picture_is_drawn_as_png(dump: Run, tmp_path: Path) -> None:
    assert dump("digraph", "--png", "mesh.png") == (0, "", "")
    assert "needs the name of a file" in dump("graph", "--png").err
    assert (tmp_path / "mesh.png").read_bytes().startswith(PNG)


@needs_dot
@pytest.mark.parametrize("kind", ["graph", "digraph"])
def test_graphviz_accepts_the_text_of_tinc_too(dump: Run, kind: str) -> None:
    text = dump(kind).out
    done = subprocess.run(
        ["dot", "-Tplain"], input=text, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\nnode ") == 6
    assert done.stdout.count("\nedge ") == (4 if kind == "graph" else 8)


def test_without_graphviz_there_is_a_clear_message(
    dump: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    status, out, err = dump("graph", "--svg", "mesh.svg")
    assert (status, out) == (1, "")
    assert "Drawing needs Graphviz" in err
    assert not (tmp_path / "mesh.svg").exists()


def make_dot(directory: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = directory / "bin" / "dot"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


def test_a_failure_of_graphviz_leaves_the_old_picture(
    dump: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_dot(tmp_path, "cat >/dev/null; echo half a picture; echo no fonts >&2; exit 3", monkeypatch)
    (tmp_path / "mesh.svg").write_text("old")
    assert dump("graph", "--svg", "mesh.svg") == (1, "", "Graphviz failed: no fonts\n")
    assert (tmp_path / "mesh.svg").read_text() == "old"


def test_a_graphviz_that_hangs_is_stopped(dump: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_dot(tmp_path, "exec sleep 30", monkeypatch)
    monkeypatch.setattr(draw_module, "TIMEOUT_S", 0.2)
    assert "did not finish" in dump("graph", "--svg", "mesh.svg").err


def test_a_file_that_cannot_be_written_is_named(
    dump: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_dot(tmp_path, "cat", monkeypatch)
    status, _, err = dump("graph", "--svg", "nowhere/mesh.svg")
    assert status == 1
    assert "nowhere" in err


def test_a_picture_can_go_into_a_pipe_or_device(
    dump: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_dot(tmp_path, "cat", monkeypatch)
    assert dump("graph", "--svg", "/dev/null") == (0, "", "")
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize("words", [["graph", "--svg"], ["graph", "--pdf", "x"], ["nodes", "--svg", "x"]])
def test_other_forms_are_refused(dump: Run, words: list[str]) -> None:
    result = dump(*words)
    assert (result.status, result.out) == (1, "")
    assert ("Invalid number of arguments" in result.err) != (words == ["graph", "--svg"])
