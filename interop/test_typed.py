"""The commands of the documents for operators, typed in fresh hosts (`pytinc.lab.typed`).

Each page has hosts of its own, one for each name before a ``#``, with addresses 192.0.2.1 and so on in the
order in which the page first names them. The pages are played at the same time, because they mostly wait.
"""

from __future__ import annotations

import os
import re
import shutil
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from howto.namespaces import NamespaceBackend, missing_mount_points
from howto.player import DOCS, play
from pytinc.lab.namespaces import LabError, missing_means
from pytinc.lab.node import Kind
from pytinc.lab.typed import LONG_PAGES, PAGES


def play_in_namespaces(page: str) -> None:
    """Type all commands of a page in fresh hosts. Raises LabError at the first that does not go as shown."""
    with NamespaceBackend() as backend:
        play(page, backend)


@pytest.fixture(scope="module")
def plays() -> dict[str, Future[None]]:
    """The pages, all being played."""
    reason = missing_means() or missing_mount_points()
    if reason is not None:
        pytest.skip(reason)
    with ThreadPoolExecutor(max(1, len(PAGES) + len(LONG_PAGES))) as pool:
        return {page: pool.submit(play_in_namespaces, page) for page in pages()}


def pages() -> list[str]:
    """Return the pages to play: all with PYTINC_DOCUMENTS=all (``make docs-test``)."""
    return [*PAGES, *(LONG_PAGES if os.environ.get("PYTINC_DOCUMENTS") == "all" else ())]


@pytest.mark.parametrize("page", [*PAGES, *LONG_PAGES])
def test_the_commands_of_a_page_do_what_it_says(page: str, plays: dict[str, Future[None]]) -> None:
    if page not in plays:
        pytest.skip("takes long: make docs-test")
    if re.search(r"^\w+# tinc ", (DOCS / page).read_text(), re.MULTILINE):
        try:
            Kind.C.programs()
        except LabError as error:
            pytest.skip(str(error))
    if re.search(r"^\w+# keepalived$", (DOCS / page).read_text(), re.MULTILINE) and not shutil.which(
        "keepalived"
    ):
        pytest.skip("keepalived is not installed (interop/setup.sh bench)")
    plays[page].result()
