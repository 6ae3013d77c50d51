"""Who may import whom: the table of docs/architecture.md, kept true; and no modules that import each other.

Every file of the package is parsed; relative imports are resolved; imports inside functions and under
``TYPE_CHECKING`` count like all others, because a dependency is one whenever it is written down.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import pytinc

ROOT = Path(pytinc.__file__).parent
ALL = "*"
"""Any module of the standard library."""


class Rule(NamedTuple):
    """What one package may import."""

    inside: frozenset[str]
    """Parts of pytinc: packages, or modules of one where not all of it is meant."""
    foreign: frozenset[str] = frozenset()
    """Third-party packages."""
    only_in: dict[str, tuple[str, ...]] | None = None
    """Module (foreign or of the standard library): the only files that may import it."""
    forbidden: frozenset[str] = frozenset()
    """Modules of the standard library that must not be imported."""


IMPURE = frozenset(
    {
        "asyncio",
        "datetime",
        "logging",
        "os",
        "pathlib",
        "random",
        "secrets",
        "selectors",
        "signal",
        "socket",
        "subprocess",
        "threading",
        "time",
    }
)
"""I/O, clocks, randomness, logging: nothing for the core."""
LOOP = frozenset({"asyncio", "logging", "selectors", "socket"})

CORE = frozenset({"errors", "wire", "crypto", "config", "protocol", "datapath", "vip", "node"})

TABLE: dict[str, Rule] = {
    # The roots: the version, and the way to the command.
    "": Rule(frozenset({"cli"}), forbidden=IMPURE),
    "errors": Rule(frozenset(), forbidden=IMPURE),
    # What both programs do first.
    "standard_streams": Rule(frozenset(), forbidden=LOOP),
    "wire": Rule(frozenset({"errors"}), frozenset({"construct"}), forbidden=IMPURE),
    "crypto": Rule(
        frozenset({"errors", "wire"}),
        frozenset({"cryptography", "nacl"}),
        forbidden=IMPURE,
    ),
    "config": Rule(
        frozenset({"errors", "wire"}),
        only_in={"pathlib": ("config/store.py",)},
        forbidden=LOOP,
    ),
    "protocol": Rule(frozenset({"errors", "wire", "crypto"}), forbidden=IMPURE),
    "datapath": Rule(
        frozenset({"errors", "wire", "crypto", "protocol.sptps", "protocol.subnet_table"}),
        frozenset({"lz4", "lzallright", "numpy"}),
        only_in={"lz4": ("datapath/compression.py",), "lzallright": ("datapath/compression.py",)},
        forbidden=IMPURE,
    ),
    "vip": Rule(frozenset({"errors", "wire"}), forbidden=IMPURE),
    "node": Rule(
        frozenset({"errors", "wire", "crypto", "config", "protocol", "datapath", "vip"}), forbidden=IMPURE
    ),
    "control": Rule(
        frozenset({"errors", "wire"}),
        only_in={"socket": ("control/client.py",)},
        forbidden=frozenset({"asyncio", "logging"}),
    ),
    "net": Rule(
        CORE | {"control"},
        frozenset({"anyio", "httpx", "miniupnpc", "prometheus_client", "pyroute2", "pytun_pmd3", "uvloop"}),
        only_in={
            "anyio": ("net/http_check.py",),
            "httpx": ("net/http_check.py",),
            "miniupnpc": ("net/igd.py",),
            "prometheus_client": ("net/metrics.py",),
            "pyroute2": ("net/managed_addresses.py",),
            "uvloop": ("net/loop.py",),
        },
    ),
    "daemon": Rule(CORE | {"control", "net", "standard_streams"}, frozenset({"click"})),
    "cli": Rule(
        frozenset({"errors", "standard_streams", "wire", "crypto", "config", "control", "protocol", "view"}),
        frozenset({"click", "rich"}),
        only_in={"socket": ("cli/join.py", "cli/neighbours.py", "cli/port.py")},
        forbidden=frozenset({"asyncio", "logging"}),
    ),
    # A process of its own; of the command it takes what asks the daemon and puts the answers into words.
    "view": Rule(
        frozenset(
            {
                "errors",
                "wire",
                "control",
                "cli.events",
                "cli.lists",
                "cli.machine",
                "cli.reach",
                "cli.shared",
                "cli.statistics",
            }
        ),
        frozenset({"starlette", "uvicorn"}),
        only_in={
            "socket": ("view/serve.py",),
            "starlette": ("view/app.py",),
            "uvicorn": ("view/serve.py",),
        },
    ),
    # It runs the programs from outside; nothing inside imports it.
    "lab": Rule(frozenset({"errors"}), frozenset({"click", "rich"})),
}

FILES = sorted(ROOT.rglob("*.py"))


class Import(NamedTuple):
    """One imported module, the line that imports it, and what is imported from it (nothing: all of it)."""

    module: str
    line: int
    names: tuple[str, ...] = ()


def package_of(path: Path) -> str:
    """Return the row of the table a file belongs to."""
    relative = path.relative_to(ROOT)
    if len(relative.parts) > 1:
        return relative.parts[0]
    return "" if relative.stem in ("__init__", "__main__") else relative.stem


def imports_of(path: Path) -> Iterator[Import]:
    """Yield every module a file imports, by its absolute name. What is imported from the root is a module."""
    own = ["pytinc", *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = own[: len(own) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            if module == "pytinc":
                for alias in node.names:
                    yield Import(f"pytinc.{alias.name}", node.lineno)
            else:
                yield Import(module, node.lineno, tuple(alias.name for alias in node.names))


def is_within(module: str, allowed: str) -> bool:
    """Tell whether ``module`` is ``allowed`` or inside it."""
    return module == allowed or module.startswith(f"{allowed}.")


def problems_of(path: Path) -> list[str]:
    """Return what a file imports against its rule."""
    package, name = package_of(path), path.relative_to(ROOT).as_posix()
    rule = TABLE[package]
    problems = []
    for module, line, _ in imports_of(path):
        top = module.partition(".")[0]
        if top == "pytinc":
            inside = module.removeprefix("pytinc").removeprefix(".")
            fine = (
                inside in ("", "__version__")
                or (package != "" and is_within(inside, package))
                or any(is_within(inside, allowed) for allowed in rule.inside)
            )
        elif rule.only_in is not None and top in rule.only_in:
            fine = name in rule.only_in[top]
        elif top in sys.stdlib_module_names:
            fine = top not in rule.forbidden
        else:
            fine = top in rule.foreign
        if not fine:
            problems.append(f"{name}:{line} imports {module}")
    return problems


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_file_imports_only_what_its_package_may(path: Path) -> None:
    assert problems_of(path) == []


def test_the_parts_of_the_node_stand_in_the_order_of_their_imports() -> None:
    """The list in the docstring of node.py, from the lowest to the highest, is true."""
    text = ast.get_docstring(ast.parse((ROOT / "node/node.py").read_text(encoding="utf-8"))) or ""
    _, *bullets = re.split(r"^\* ", text, flags=re.MULTILINE)
    rank = {
        name: place for place, bullet in enumerate(bullets) for name in re.findall(r"`([a-z_]+\*?)`", bullet)
    }

    def rank_of(name: str) -> int | None:
        return rank.get("requests_*" if name.startswith("requests_") else name)

    parts = [path for path in (ROOT / "node").glob("*.py") if rank_of(path.stem) is not None]
    assert len(parts) > len(bullets)
    problems = []
    for path in parts:
        for module, line, _ in imports_of(path):
            name, own = module.removeprefix("pytinc.node."), rank_of(path.stem)
            other = rank_of(name)
            if module.startswith("pytinc.node.") and other is not None and own is not None and other > own:
                problems.append(f"{path.name}:{line} imports {name}, which stands above it")
    assert problems == []


def test_every_package_has_a_row() -> None:
    assert {package_of(path) for path in FILES} <= set(TABLE)


def test_the_check_sees_relative_nested_and_conditional_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    file = tmp_path / "wire" / "bad.py"
    file.parent.mkdir()
    file.write_text(
        "import struct\n"
        "import pytinc\n"
        "from pytinc import __version__, node\n"
        "from ..node import peer\n"
        "from . import names\n"
        "from ..errors import DecodeError\n"
        "def f():\n"
        "    import numpy.linalg\n"
        "if TYPE_CHECKING:\n"
        "    import asyncio.events\n"
    )
    assert problems_of(file) == [
        "wire/bad.py:3 imports pytinc.node",
        "wire/bad.py:4 imports pytinc.node",
        "wire/bad.py:8 imports numpy.linalg",
        "wire/bad.py:10 imports asyncio.events",
    ]


# -- circles -----------------------------------------------------------------------------------------------


def module_of(path: Path) -> str:
    """Return the absolute name of a file's module; that of ``__init__.py`` is its package's."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(["pytinc", *(part for part in parts if part != "__init__")])


def import_graph(files: Iterable[Path]) -> dict[str, set[str]]:
    """Return which others of these modules each module imports."""
    paths = {module_of(path): path for path in files}
    graph: dict[str, set[str]] = {}
    for module, path in paths.items():
        imported = graph[module] = set()
        for found in imports_of(path):
            # What is imported from a package is one of its modules, or something its __init__ defines.
            members = [f"{found.module}.{name}" for name in found.names]
            imported.update(member if member in paths else found.module for member in members)
            if not members:
                imported.add(found.module)
        imported &= paths.keys() - {module}
    return graph


def reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    """Return every module that ``start`` imports, directly or through others."""
    seen: set[str] = set()
    todo = [start]
    while todo:
        new = graph[todo.pop()] - seen
        seen |= new
        todo += new
    return seen


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that all import each other, directly or through others, sorted.

    These are the strongly connected components of more than one module.
    """
    imported = {module: reachable(graph, module) for module in graph}
    groups = {
        frozenset(other for other in imported[module] if module in imported[other])
        for module in graph
        if module in imported[module]
    }
    return sorted(sorted(group) for group in groups)


def test_no_modules_import_each_other() -> None:
    assert circles(import_graph(FILES)) == []


def test_the_check_finds_circles_however_they_are_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    files = {
        "wire/__init__.py": "from pytinc.cli.words import WORD\n",
        # Through a function, a type and the __init__ of a package.
        "cli/words.py": "def f():\n    from pytinc.net import near\n",
        "net/__init__.py": "",
        "net/near.py": "if TYPE_CHECKING:\n    from . import far\n",
        "net/far.py": "from pytinc.wire import names, WORD\n",
        # Beside that circle: imported by it, and importing it.
        "wire/names.py": "import struct\n",
        "daemon.py": "import pytinc.net.far\nfrom pytinc import daemon\n",
        # Two that know only each other.
        "lab/one.py": "from .two import b\n",
        "lab/two.py": "import pytinc.lab.one\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert circles(import_graph(tmp_path.rglob("*.py"))) == [
        ["pytinc.cli.words", "pytinc.net.far", "pytinc.net.near", "pytinc.wire"],
        ["pytinc.lab.one", "pytinc.lab.two"],
    ]


# -- start-up ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("pytinc.cli.app", {"asyncio", "uvloop", "numpy", "rich", "cryptography", "nacl"}),
        ("pytinc.daemon.app", {"asyncio", "uvloop", "numpy", "rich", "cryptography", "nacl"}),
        ("pytinc.node.node", {"asyncio", "uvloop", "socket", "logging", "click"}),
    ],
)
def test_entry_points_load_nothing_heavy(module: str, unwanted: set[str]) -> None:
    code = f"import sys, {module}; print(*sorted(set(sys.modules) & {unwanted!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
