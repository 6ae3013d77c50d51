"""tools/release.py: what keeps a commit from becoming a release, and what is written about one."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import changelog
import package
import pytest
import release

ROOT = Path(__file__).parents[1]
CHANGELOG = """\
# Changelog

## Unreleased

## 1.2.0 - 2026-12-01

### Added

- A thing.

## 1.1.0 - 2026-11-01

- An older thing.
"""


def git(root: Path, *words: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(root), *identity, *words], check=True, capture_output=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A commit that may be released as 1.2.0."""
    (tmp_path / "src/pytinc").mkdir(parents=True)
    (tmp_path / "src/pytinc/__init__.py").write_text('"""x"""\n\n__version__ = "1.2.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "1.2.0")
    return tmp_path


def test_a_clean_commit_with_its_section_may_be_released(root: Path) -> None:
    assert release.problems(root, "1.2.0") == []
    git(root, "tag", "v1.2.0")
    assert release.problems(root, "1.2.0") == []


def test_values_of_build_arguments_are_not_printed() -> None:
    words = ["docker", "build", "--build-arg=VERSION=1.2.0", "--build-arg=INDEX=https://me:word@x/?a=b", "."]
    assert release.shown(words) == "docker build --build-arg=VERSION=... --build-arg=INDEX=... ."
    assert release.shown(["--set=*.args.INDEX=word", "amd64"]) == "--set=*.args.INDEX=... amd64"


@pytest.mark.parametrize("name", ["CHANGELOG.md", "a file that git does not know"])
def test_a_tree_with_changes_may_not(root: Path, name: str) -> None:
    with (root / name).open("a") as file:
        file.write("\n")
    (problem,) = release.problems(root, "1.2.0")
    assert problem.startswith("the tree is not clean")
    assert name in problem


def test_the_version_must_be_that_of_sources_and_changelog(root: Path) -> None:
    assert release.problems(root, "1.3.0") == [
        "src/pytinc/__init__.py has version 1.2.0, not 1.3.0",
        "CHANGELOG.md has no title '## 1.3.0 - YYYY-MM-DD'",
    ]


def test_changes_under_unreleased_belong_into_the_section(root: Path) -> None:
    text = CHANGELOG.replace("## Unreleased\n", "## Unreleased\n\n- More.\n")
    (root / "CHANGELOG.md").write_text(text)
    git(root, "commit", "--quiet", "-a", "-m", "more")
    assert release.problems(root, "1.2.0") == ["CHANGELOG.md has changes under Unreleased"]


def test_a_tag_stays_where_it_is(root: Path) -> None:
    git(root, "tag", "v1.2.0")
    git(root, "commit", "--quiet", "--allow-empty", "-m", "later")
    assert release.problems(root, "1.2.0") == ["the tag v1.2.0 is at another commit"]


def test_this_repository_has_unreleased_changes_or_a_release() -> None:
    parts = changelog.sections((ROOT / "CHANGELOG.md").read_text())
    assert parts[0].version == "Unreleased" or parts[0].date


def test_the_notes_are_the_section(root: Path) -> None:
    assert release.notes(root, "1.2.0") == "# pytinc 1.2.0 (2026-12-01)\n\n### Added\n\n- A thing.\n"


def test_the_sums_are_those_that_sha256sum_checks(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"")
    (tmp_path / "a c").write_bytes(b"x")
    (tmp_path / "SHA256SUMS").write_text(release.sums(tmp_path))
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path, check=True, capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.stdout == "a c: OK\nb: OK\n"


def test_a_pre_release_is_older_than_its_release_for_package_managers() -> None:
    assert package.package_version("1.0.0") == "1.0.0"
    assert package.package_version("1.0.0rc1") == "1.0.0~rc1"
    assert package.package_version("1.0.0.dev3") == "1.0.0~dev3"


def test_the_images_are_made_for_both_architectures_from_the_dockerfiles_arguments() -> None:
    bake = json.loads((ROOT / "docker-bake.json").read_text())
    targets = bake["target"]
    assert targets["image"]["platforms"] == ["linux/amd64", "linux/arm64"]
    dockerfile = (ROOT / "Dockerfile").read_text()
    for name in targets["image"]["args"]:
        assert f"ARG {name}" in dockerfile
        assert name in bake["variable"]
    assert set(bake["group"]["files"]["targets"]) == set(package.MACHINES)
