"""The licences of what is shipped: which version of the GPL the libraries allow, and a list with the texts.

    python tools/licences.py PYTHON     prints a line for each distribution that this interpreter would import

Status 1 if one of them, as far as its metadata tell, cannot be passed on together with pytinc, which is
GPL-2.0-or-later. pip-licenses reads the metadata.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

GPL_VERSIONS: Final = {
    "0BSD": 2, "BSD-2-Clause": 2, "BSD-3-Clause": 2, "BSL-1.0": 2, "CC0-1.0": 2, "GPL-2.0-only": 2,
    "GPL-2.0-or-later": 2, "ISC": 2, "LGPL-2.1-or-later": 2, "MIT": 2, "MIT-0": 2, "MPL-2.0": 2, "PSF-2.0": 2,
    "Python-2.0": 2, "Unlicense": 2, "Zlib": 2,
    "Apache-2.0": 3, "GPL-3.0-only": 3, "GPL-3.0-or-later": 3, "LGPL-3.0-or-later": 3,
}  # fmt: skip
"""The lowest version of the GPL with which something under a licence (SPDX) may be combined.

By the FSF's list of licences. GPL-2.0-only would in turn exclude version 3; see `verdict`."""

CLASSIFIERS: Final = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""The SPDX names for classifiers of older metadata. "BSD License" may be any of that family."""

FREE_TEXTS: Final = {
    "BSD 3-Clause License": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
    "Apache License 2.0": "Apache-2.0",
}
"""The SPDX names for what older metadata have as text, by its first line."""

VENDOR: Final = Path(__file__).resolve().parent.parent / "src/pytinc/view/static/vendor"
VENDORED: Final = {
    "d3": ("7.9.2", "Apache-2.0 AND BSD-3-Clause AND ISC AND MIT AND Unlicense"),
    "uPlot": ("1.6.32", "MIT"),
}
"""Version and licences of the libraries in the page of `pytinc view`, and so in pytinc's own wheel."""

_UNKNOWN: Final = "UNKNOWN"


class LicenceError(Exception):
    """A licence is not known, or does not go together with the GPL."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """What the metadata of an installed library say about its licence."""

    name: str
    version: str
    expression: str
    """SPDX; AND and OR may be in it."""
    text: str
    """The licence file."""


def distributions(python: str) -> list[Distribution]:
    """Return all that an interpreter would import, by name. Raises `LicenceError` for unknown licences."""
    words = (
        "--python", python, "--with-system", "--from=all", "--format=json", "--with-license-file",
        "--no-license-path",
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "piplicenses", *words], check=True, capture_output=True, text=True
    )
    return sorted(
        (
            Distribution(row["Name"], row["Version"], spdx(row), row["LicenseText"])
            for row in json.loads(done.stdout)
        ),
        key=lambda found: found.name.lower(),
    )


def vendored() -> list[Distribution]:
    """Return the libraries in the page, which no metadata name."""
    return [
        Distribution(name, version, expression, (VENDOR / f"{name}.LICENSE").read_text(encoding="utf-8"))
        for name, (version, expression) in VENDORED.items()
    ]


def spdx(row: dict[str, str]) -> str:
    """Return the licence expression of a row of pip-licenses. Raises `LicenceError`.

    The newest kind of metadata counts alone; several classifiers mean a choice.
    """
    expression = row.get("License-Expression", _UNKNOWN)
    if expression != _UNKNOWN:
        return expression
    classifiers = [word.strip() for word in row["License-Classifier"].split(";")]
    if classifiers != [_UNKNOWN]:
        unknown = [word for word in classifiers if word not in CLASSIFIERS]
        if unknown:
            raise LicenceError(f"{row['Name']}: tools/licences.py does not know the licence {unknown[0]!r}")
        return " OR ".join(CLASSIFIERS[word] for word in classifiers)
    first = row["License-Metadata"].strip().partition("\n")[0].strip()
    if first in GPL_VERSIONS:
        return first
    if first in FREE_TEXTS:
        return FREE_TEXTS[first]
    raise LicenceError(f"{row['Name']}: tools/licences.py does not know the licence {first!r}")


def gpl_version(expression: str) -> int:
    """Return the lowest version of the GPL that an SPDX expression goes together with, 2 or 3.

    Of alternatives the one that asks least counts. Raises `LicenceError`.
    """
    from license_expression import AND, OR, ExpressionError, get_spdx_licensing

    def lowest(node: object) -> int:
        if isinstance(node, AND):
            return max(lowest(part) for part in node.args)
        if isinstance(node, OR):
            return min(_allowed(node.args))
        if str(node) not in GPL_VERSIONS:
            raise LicenceError(f"tools/licences.py does not know {node} as compatible with the GPL")
        return GPL_VERSIONS[str(node)]

    def _allowed(parts: tuple[object, ...]) -> list[int]:
        found: list[int] = []
        problem: LicenceError | None = None
        for part in parts:
            try:
                found.append(lowest(part))
            except LicenceError as error:
                problem = error
        if problem is not None and not found:
            raise problem
        return found

    try:
        return lowest(get_spdx_licensing().parse(expression))
    except ExpressionError as error:
        raise LicenceError(f"{expression!r} is no licence expression: {error}") from error


def verdict(found: list[Distribution]) -> int:
    """Return the lowest version of the GPL under which all of these may be passed on together.

    Raises `LicenceError` with each distribution that fits no version.
    """
    problems: list[str] = []
    version = 2
    for distribution in found:
        try:
            version = max(version, gpl_version(distribution.expression))
        except LicenceError as error:
            problems.append(f"{distribution.name} {distribution.version}: {error}")
    if version == 3:
        problems += [
            f"{each.name} is GPL-2.0-only, and another library needs version 3"
            for each in found
            if each.expression == "GPL-2.0-only"
        ]
    if problems:
        raise LicenceError("\n".join(problems))
    return version


def joint_expression(found: list[Distribution]) -> str:
    """Return one SPDX expression for all of these together."""
    parts = {f"({each.expression})" if " " in each.expression else each.expression for each in found}
    return " AND ".join(sorted(parts, key=lambda part: part.strip("(")))


def table(found: list[Distribution]) -> str:
    """Return a line for each distribution: name, version, licence."""
    width = max(len(f"{each.name} {each.version}") for each in found)
    return "".join(f"{f'{each.name} {each.version}':{width}}  {each.expression}\n" for each in found)


def conclusion(found: list[Distribution]) -> str:
    """Return what the licences mean for who passes all of it on. Raises `LicenceError`."""
    if verdict(found) == 2:
        return "All of it together may be passed on under the GNU GPL, version 2 or later.\n"
    names = ", ".join(each.name for each in found if gpl_version(each.expression) == 3)
    return (
        "All of it together may be passed on under the GNU GPL, version 3 or later. Version 2 is excluded\n"
        f"by the licences of {names}.\n"
    )


def list_with_texts(found: list[Distribution]) -> str:
    """Return the list that is shipped: the table, what follows from it, and all licence files."""
    parts = ["Licences of pytinc and of the libraries that are shipped with it\n\n", table(found), "\n"]
    parts.append(conclusion(found))
    for each in found:
        title = f"{each.name} {each.version}: {each.expression}"
        text = each.text.strip()
        parts.append(f"\n\n{title}\n{'=' * len(title)}\n\n")
        parts.append("(no licence file in the distribution)\n" if text in ("", _UNKNOWN) else f"{text}\n")
    return "".join(parts)


def main(words: list[str]) -> int:
    """Print table and conclusion for an interpreter."""
    try:
        found = distributions(words[0] if words else sys.executable)
        sys.stdout.write(f"{table(found)}\n{conclusion(found)}")
    except LicenceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
