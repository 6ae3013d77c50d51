"""Finds tests that tables and documents name."""

from __future__ import annotations

import ast
import functools
from pathlib import Path
from typing import Final

FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
ROOT: Final = Path(__file__).resolve().parents[1]


@functools.cache
def named_tests(file: str) -> frozenset[str]:
    """Return the tests of a file as in a test id: ``name``, or ``Class::name``."""
    found = set()
    for node in ast.parse((ROOT / file).read_text()).body:
        scope, prefix = ([node], "") if not isinstance(node, ast.ClassDef) else (node.body, f"{node.name}::")
        found |= {f"{prefix}{each.name}" for each in scope if isinstance(each, FUNCTIONS)}
    return frozenset(name for name in found if name.rpartition("::")[2].startswith("test_"))
