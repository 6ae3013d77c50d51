"""tools/licences.py: with which version of the GPL a licence goes together."""

from __future__ import annotations

import pytest
from licences import (
    VENDOR,
    Distribution,
    LicenceError,
    conclusion,
    gpl_version,
    joint_expression,
    list_with_texts,
    spdx,
    vendored,
    verdict,
)

UNKNOWN = "UNKNOWN"


def distribution(name: str, expression: str) -> Distribution:
    return Distribution(name, "1", expression, "")


@pytest.mark.parametrize(
    ("expression", "version"),
    [
        ("MIT", 2), ("MPL-2.0", 2), ("Apache-2.0", 3), ("GPL-3.0-or-later", 3),
        ("Apache-2.0 OR BSD-3-Clause", 2), ("Apache-2.0 AND BSD-2-Clause", 3),
        ("BSD-3-Clause AND (Apache-2.0 OR MIT)", 2), ("SSPL-1.0 OR MIT", 2),
    ],
)  # fmt: skip
def test_alternatives_ask_for_the_least_and_conditions_for_the_most(expression: str, version: int) -> None:
    assert gpl_version(expression) == version


@pytest.mark.parametrize("expression", ["SSPL-1.0", "MIT AND BUSL-1.1", "CDDL-1.0 OR EPL-2.0", "MIT AND"])
def test_what_the_gpl_excludes_or_nobody_knows_is_an_error(expression: str) -> None:
    with pytest.raises(LicenceError):
        gpl_version(expression)


def test_the_newest_kind_of_metadata_counts_alone() -> None:
    row = {
        "Name": "x",
        "License-Expression": "MIT",
        "License-Classifier": "Nobody knows",
        "License-Metadata": "?",
    }
    assert spdx(row) == "MIT"


def test_several_classifiers_are_a_choice() -> None:
    row = {
        "Name": "x", "License-Expression": UNKNOWN, "License-Metadata": UNKNOWN,
        "License-Classifier": "Apache Software License; MIT License",
    }  # fmt: skip
    assert gpl_version(spdx(row)) == 2


def test_a_text_is_known_by_its_first_line() -> None:
    row = {"Name": "x", "License-Expression": UNKNOWN, "License-Classifier": UNKNOWN}
    assert spdx(row | {"License-Metadata": "BSD 3-Clause License\n\nCopyright ..."}) == "BSD-3-Clause"
    for text in ("", UNKNOWN, "All rights reserved"):
        with pytest.raises(LicenceError, match=r"x: .* does not know"):
            spdx(row | {"License-Metadata": text})


def test_all_that_do_not_fit_are_named() -> None:
    found = [distribution("good", "MIT"), distribution("one", "SSPL-1.0"), distribution("other", "BUSL-1.1")]
    with pytest.raises(LicenceError, match=r"one 1: .*\nother 1: "):
        verdict(found)


def test_version_two_alone_and_version_three_exclude_each_other() -> None:
    with pytest.raises(LicenceError, match=r"old is GPL-2\.0-only"):
        verdict([distribution("old", "GPL-2.0-only"), distribution("new", "Apache-2.0")])


def test_the_conclusion_names_what_excludes_version_two() -> None:
    found = [distribution("pytinc", "GPL-2.0-or-later"), distribution("new", "Apache-2.0")]
    assert "version 3 or later" in conclusion(found)
    assert "licences of new." in conclusion(found)
    assert "version 2 or later" in conclusion(found[:1])


def test_one_expression_covers_all() -> None:
    found = [distribution("a", "MIT"), distribution("b", "MIT OR Zlib"), distribution("c", "MIT")]
    assert joint_expression(found) == "MIT AND (MIT OR Zlib)"


def test_the_list_has_the_libraries_of_the_page_and_of_their_parts() -> None:
    found = vendored()
    assert {path.name for path in VENDOR.glob("*.LICENSE")} == {f"{each.name}.LICENSE" for each in found}
    for each in found:
        assert each.version in (VENDOR / f"{each.name}.min.js").read_text(encoding="utf-8")[:200]
    text = list_with_texts(found)
    holders = "Mike Bostock", "Leon Sorokin", "Robert Penner", "Charles Karney", "Cynthia Brewer", "Mapbox"
    for holder in holders:
        assert holder in text
    assert verdict(found) == 3
