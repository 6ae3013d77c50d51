"""The how-to (`howto.story`), played in namespaces with each of `CASTS`."""

from __future__ import annotations

import pytest

from howto.namespaces import NamespaceBackend, missing_mount_points
from howto.report import write
from howto.story import CASTS, KINDS, NODES, Outcome, play_all
from pytinc.lab.namespaces import LabError, missing_means

CONTROL = "CCCCC"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    casts = [CONTROL] if metafunc.config.getoption("--control") else list(CASTS)
    metafunc.parametrize("letters", casts, ids=[CASTS[letters].replace(" ", "-") for letters in casts])


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> dict[str, Outcome]:
    """The outcomes of all plays, by their casts; the plays run at the same time."""
    reason = missing_means() or missing_mount_points()
    if reason is not None:
        pytest.skip(reason)
    casts = [CONTROL] if request.config.getoption("--control") else list(CASTS)
    try:
        KINDS["C"].programs()
    except LabError:
        casts = [letters for letters in casts if "C" not in letters]
    outcomes = play_all(NamespaceBackend, casts)
    write(outcomes, "howto-namespaces")
    return dict(zip(casts, outcomes, strict=True))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_howto_works_word_for_word(letters: str, outcomes: dict[str, Outcome]) -> None:
    if letters not in outcomes:
        pytest.skip("tincd is not installed")
    outcome = outcomes[letters]
    assert outcome.passed, f"{dict(zip(NODES, letters, strict=True))}: {outcome.failure}\n{outcome.logs}"
