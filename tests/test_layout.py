"""Each module with behaviour has a test file of its name, so that everybody knows where to look and to add.

``src/pytinc/wire/ip.py`` is tested by ``tests/wire/test_ip.py``; the ``__init__`` of a package below the
first level by ``test_<package>.py`` one level up; ``__main__`` by ``test_main.py``. A module has behaviour if
a function or method in it does something: constants, types, plain records and protocol classes need no test.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

import pytest

import pytinc

ROOT = Path(pytinc.__file__).parent
TESTS = Path(__file__).parent

EXCEPTIONS: Final[dict[str, str]] = {
    "datapath/coalesce_reference.py": "the plain twin of coalesce: test_coalesce.py compares them",
    "datapath/reference.py": "the plain twin of the data path: test_twin.py compares them",
    "datapath/segment_reference.py": "the plain twin of segment: test_segment.py compares them",
    "datapath/super_frames_reference.py": "the plain twin of super_frames: compared in test_super_frames.py",
}
"""Modules with behaviour that need no test file of their own, each with the reason."""

NOT_YET: Final[tuple[str, ...]] = ()
"""Packages (with a slash) and modules that are being rebuilt; they get their tests when they are done."""


def does_anything(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Tell whether a function has more than a docstring and placeholders."""
    return not all(
        isinstance(statement, ast.Pass)
        or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
        for statement in function.body
    )


def has_behaviour(path: Path) -> bool:
    """Tell whether any function or method of a module does anything."""
    return any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and does_anything(node)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    )


def place_of_tests(path: Path) -> Path:
    """Return where the tests of a module belong."""
    module = path.relative_to(ROOT)
    if module.stem == "__init__":
        return TESTS / module.parent.parent / f"test_{module.parent.name}.py"
    return TESTS / module.parent / f"test_{module.stem.strip('_')}.py"


def has_tests(path: Path) -> bool:
    """Tell whether a file exists and has any test in it."""
    return path.exists() and any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    )


def untested() -> list[str]:
    """Return the modules with behaviour that have no test file, as paths below the package."""
    modules = [path for path in sorted(ROOT.rglob("*.py")) if has_behaviour(path)]
    return [path.relative_to(ROOT).as_posix() for path in modules if not has_tests(place_of_tests(path))]


@pytest.fixture(scope="module")
def found() -> list[str]:
    """What is untested in this repository."""
    return untested()


def test_every_module_with_behaviour_has_a_test_file_of_its_name(found: list[str]) -> None:
    missing = [name for name in found if name not in EXCEPTIONS and not name.startswith(NOT_YET)]
    assert missing == [], "write the tests, or name the exception with its reason"


def test_exceptions_have_a_reason_and_are_needed(found: list[str]) -> None:
    assert [name for name, reason in EXCEPTIONS.items() if not reason.strip()] == []
    assert set(EXCEPTIONS) <= set(found), "what has a test file, or does not exist, is no exception"


def test_what_is_being_rebuilt_exists() -> None:
    assert [part for part in NOT_YET if not (ROOT / part).exists()] == []


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty package ``src`` with a directory ``tests`` beside it."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path / "src")
    monkeypatch.setitem(globals(), "TESTS", tmp_path / "tests")
    return tmp_path


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("text", "behaves"),
    [
        ("X = 1\n", False),
        ('class Record(NamedTuple):\n    a: int\n    """What it is."""\n', False),
        ('class Seam(Protocol):\n    def f(self) -> int:\n        """Do it."""\n', False),
        ("class Seam(Protocol):\n    def f(self) -> int: ...\n", False),
        ("if __name__ == '__main__':\n    main()\n", False),
        ("def f():\n    return 1\n", True),
        ("async def f():\n    await g()\n", True),
        ("class C:\n    def f(self):\n        self.x = 1\n", True),
        ("if X:\n    def f():\n        raise ValueError\n", True),
    ],
)
def test_behaviour_is_what_a_function_does(tree: Path, text: str, behaves: bool) -> None:
    put(tree / "src/m.py", text)
    assert has_behaviour(tree / "src/m.py") is behaves


@pytest.mark.parametrize(
    ("module", "tests"),
    [
        ("errors.py", "test_errors.py"),
        ("wire/ip.py", "wire/test_ip.py"),
        ("protocol/sptps/replay.py", "protocol/sptps/test_replay.py"),
        ("cli/completions/__init__.py", "cli/test_completions.py"),
        ("lab/__main__.py", "lab/test_main.py"),
    ],
)
def test_a_test_file_counts_in_its_place_and_only_if_it_has_tests(
    tree: Path, module: str, tests: str
) -> None:
    put(tree / "src" / module, "def f():\n    return 1\n")
    assert untested() == [module]
    put(tree / "tests/elsewhere" / tests, "def test_f():\n    assert f()\n")
    put(tree / "tests" / tests, "def helper():\n    return 1\n")
    assert untested() == [module]
    put(tree / "tests" / tests, "class TestF:\n    def test_f(self):\n        assert f()\n")
    assert untested() == []
