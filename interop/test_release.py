"""tools/release.py run on a commit of this repository: twice, with the same result.

It makes packages, which takes minutes; ``make deb-test`` runs it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from howto.images import REPOSITORY
from pytinc.lab.namespaces import run

VERSION = "0.9.0"
LIMIT_S = 900.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a commit that may be released: the sources here, with a version and a title in the changelog."""
    if not os.environ.get("PYTINC_INTEROP_DEB"):
        pytest.skip("a release takes minutes: make deb-test makes one")
    source = tmp_path_factory.mktemp("release") / "source"
    shutil.copytree(
        REPOSITORY,
        source,
        ignore=shutil.ignore_patterns(".venv", ".git", ".*_cache", "build", "dist", "results"),
    )
    edit(source / "src/pytinc/__init__.py", r'__version__ = ".*"', f'__version__ = "{VERSION}"')
    edit(source / "CHANGELOG.md", r"(?m)^## Unreleased$", f"## {VERSION} - 2026-12-01")
    run(sys.executable, str(source / "tools/generate.py"))
    for words in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "-m", VERSION)):
        run("git", "-C", str(source), "-c", "user.name=t", "-c", "user.email=t@example.org", *words)
    return source


def edit(path: Path, pattern: str, text: str) -> None:
    path.write_text(re.sub(pattern, text, path.read_text(), count=1))


def release(source: Path, output: Path, constraint: Path | None = None) -> str:
    # Without Docker: interop/test_containers.py builds the image.
    environment = {**os.environ, "PATH": os.environ["PATH"], "DOCKER_HOST": "unix:///nonexistent"}
    if constraint is not None:
        environment["PIP_CONSTRAINT"] = str(constraint)
    done = subprocess.run(
        [
            sys.executable, str(source / "tools/release.py"), VERSION, "--architecture", "amd64",
            "--output", str(output),
        ],
        env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_release_has_all_files_and_can_be_made_again(source: Path, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    said = release(source, one)
    assert "no Docker engine runs here, so the container image was not made" in said
    assert sorted(path.name for path in one.iterdir()) == sorted([
        "SHA256SUMS", "notes.md", f"pytinc-{VERSION}-1.x86_64.rpm", f"pytinc-{VERSION}-amd64.cdx.json",
        f"pytinc-{VERSION}-amd64.constraints.txt", f"pytinc-{VERSION}-amd64.licenses.txt",
        f"pytinc-{VERSION}-py3-none-any.whl", f"pytinc-{VERSION}.tar.gz", f"pytinc_{VERSION}-1_amd64.deb",
    ])  # fmt: skip
    run("sh", "-c", f"cd {one} && sha256sum --check --strict SHA256SUMS")
    assert (one / "notes.md").read_text().startswith(f"# pytinc {VERSION} (2026-12-01)\n\n### Added\n")
    release(source, other, one / f"pytinc-{VERSION}-amd64.constraints.txt")
    assert (other / "SHA256SUMS").read_text() == (one / "SHA256SUMS").read_text()


def test_a_changed_tree_is_refused(source: Path) -> None:
    (source / "more").write_text("")
    done = run(sys.executable, str(source / "tools/release.py"), VERSION, check=False)
    (source / "more").unlink()
    assert done.returncode == 1
    assert done.stderr.startswith("release: the tree is not clean:\n?? more")
