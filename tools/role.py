"""Makes the documentation of the Ansible role, and the role's copy of the unit. `generate.py` writes them.

The text comes from the role's ``meta/argument_specs.yml``, which Ansible checks the variables by.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
UNIT = "pytinc@.service"
HEAD = """\
# Role tinc

[//]: # (Made by tools/generate.py of meta/argument_specs.yml: do not edit.)

How to use the role: `docs/ansible.md` of pytinc.

## Entry points

| `tasks_from` | Does |
|---|---|
"""
VARIABLES = """
## Variables

All entry points have the same ones. None is required.

| Variable | Type | Default | Meaning |
|---|---|---|---|
"""


def files() -> dict[str, str]:
    """Return the generated files of the role, by their paths in it."""
    specs: dict[str, Any] = yaml.safe_load(
        (ROOT / "ansible/roles/tinc/meta/argument_specs.yml").read_text(encoding="utf-8")
    )["argument_specs"]
    text = HEAD
    for name, spec in specs.items():
        sentences = [spec["short_description"] + ".", *spec.get("description", ())]
        text += f"| `{name}` | {_plain(' '.join(sentences))} |\n"
    text += VARIABLES
    for name, option in specs["main"]["options"].items():
        kind = f"list of {option['elements']}" if "elements" in option else option["type"]
        default = f"`{_word(option['default'])}`" if "default" in option else ""
        text += f"| `{name}` | {kind} | {default} | {_plain(_meaning(option))} |\n"
    unit = (ROOT / "systemd" / UNIT).read_text(encoding="utf-8")
    return {"README.md": text, f"files/{UNIT}": unit}


def _meaning(option: dict[str, Any]) -> str:
    words = [f"`{_word(choice)}`" for choice in option.get("choices", ())]
    return f"One of {', '.join(words)}. {option['description']}" if words else str(option["description"])


def _word(value: object) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def _plain(text: str) -> str:
    """Return Ansible's markup as Markdown."""
    return re.sub(r"\b[CO]\(([^)]*)\)", r"`\1`", " ".join(text.split())).replace("|", r"\|")
