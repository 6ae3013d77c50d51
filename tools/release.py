"""Makes all files of a release from a clean commit; uploads nothing.

    python tools/release.py VERSION [--architecture amd64 ...] [--output DIR] [--compression gzip]
                             [--build-arg NAME=VALUE ...]

In DIR (dist/release-VERSION): wheel, source distribution, Debian and RPM packages, the container image as a
file, for each architecture the SBOM, the licence list and the versions of the libraries, notes.md with the
section of the changelog, and SHA256SUMS. The image is made for this machine's architecture, by `docker buildx
bake` (docker-bake.json) or, without buildx, by `docker build`; without a running Docker engine the last line
says that it is missing. The values of build arguments are not printed here, but an image keeps them in its
history: a password belongs elsewhere.

Refuses to run if the tree has changes or files that git does not know, if VERSION is not that of the sources,
if CHANGELOG.md has no dated section for it, or text under Unreleased, or if a tag vVERSION is at another
commit.

Times in the files are those of the commit (SOURCE_DATE_EPOCH): two runs with the same libraries
(PIP_CONSTRAINT, see tools/package.py) make the same files, except for the image.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import changelog
import package

ROOT: Final = package.ROOT
_BUILD_ARGUMENT: Final = re.compile(r"(--build-arg=[^=]*|--set=[^=]*\.args\.[^=]*)=.*", re.DOTALL)


class ReleaseError(Exception):
    """There can be no release; the text says why."""


def problems(root: Path, version: str) -> list[str]:
    """Return why the sources in ``root`` are not those of a release of this version; empty if they are."""
    found: list[str] = []
    if changes := _git(root, "status", "--porcelain"):
        found.append(f"the tree is not clean:\n{changes}")
    text = (root / "src/pytinc/__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    if match is None or match[1] != version:
        found.append(f"src/pytinc/__init__.py has version {match and match[1]}, not {version}")
    parts = changelog.sections((root / "CHANGELOG.md").read_text(encoding="utf-8"))
    section = next((part for part in parts if part.version == version), None)
    if section is None or not section.date:
        found.append(f"CHANGELOG.md has no title '## {version} - YYYY-MM-DD'")
    elif not section.text:
        found.append(f"the section of {version} in CHANGELOG.md is empty")
    if any(part.version == "Unreleased" and part.text for part in parts):
        found.append("CHANGELOG.md has changes under Unreleased")
    tagged = _git(root, "rev-parse", "--verify", "--quiet", f"refs/tags/v{version}^{{commit}}")
    if tagged and tagged != _git(root, "rev-parse", "HEAD"):
        found.append(f"the tag v{version} is at another commit")
    return found


def notes(root: Path, version: str) -> str:
    """Return the notes of a release: its section of the changelog (Markdown)."""
    parts = changelog.sections((root / "CHANGELOG.md").read_text(encoding="utf-8"))
    (section,) = (part for part in parts if part.version == version)
    return f"# pytinc {section.version} ({section.date})\n\n{section.text}\n"


def sums(directory: Path) -> str:
    """Return a line for each file of a directory, as sha256sum prints and checks it."""
    return "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(directory.iterdir())
        if path.name != "SHA256SUMS"
    )


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def shown(command: Sequence[str]) -> str:
    """Return a command as it is printed: without the values of build arguments, which may be passwords."""
    return " ".join(_BUILD_ARGUMENT.sub(r"\1=...", word) for word in command)


def _run(*command: str, **settings: str) -> None:
    """Run a command whose output the operator sees. Raises `ReleaseError` if it fails."""
    sys.stdout.write(f"+ {shown(command)}\n")
    sys.stdout.flush()
    if subprocess.run(command, cwd=ROOT, env={**os.environ, **settings}, check=False).returncode != 0:
        raise ReleaseError(f"{command[0]} failed")


def make(arguments: argparse.Namespace, output: Path) -> str:
    """Make the files; return a remark about what is missing, or nothing. Raises `ReleaseError`."""
    version = arguments.version
    found = problems(ROOT, version)
    if subprocess.run([sys.executable, str(ROOT / "tools/generate.py"), "--check"], check=False).returncode:
        found.append("made files are not up to date")
    if found:
        raise ReleaseError("\n".join(found))
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    time = {"SOURCE_DATE_EPOCH": _git(ROOT, "log", "-1", "--format=%ct")}
    python = sys.executable
    _run(python, "-m", "build", "--outdir", str(output), **time)
    (wheel,), (source,) = output.glob("*.whl"), output.glob("*.tar.gz")
    _run(python, "-m", "twine", "check", "--strict", str(wheel), str(source))
    _run(python, "-m", "check_wheel_contents", str(wheel))
    for architecture in arguments.architectures or list(package.MACHINES):
        _run(
            python, "tools/package.py", "deb", "rpm", "--architecture", architecture, "--wheel", str(wheel),
            "--output", str(output), "--compression", arguments.compression, **time,
        )  # fmt: skip
    remark = make_image(version, output, arguments.build_arg)
    (output / "notes.md").write_text(notes(ROOT, version), encoding="utf-8")
    (output / "SHA256SUMS").write_text(sums(output), encoding="utf-8")
    return remark


def make_image(version: str, output: Path, build_arguments: list[str]) -> str:
    """Make the image for this machine as a file; return why not, or nothing. Raises `ReleaseError`."""
    # "version" fails without an engine; "info" of some clients does not.
    if shutil.which("docker") is None or not _works("docker", "version"):
        return "no Docker engine runs here, so the container image was not made"
    architecture = next(name for name, word in package.MACHINES.items() if word == platform.machine())
    settings = {"VERSION": version, "REVISION": _git(ROOT, "rev-parse", "HEAD"), "OUTPUT": str(output)}
    if _works("docker", "buildx", "version"):
        words = [f"--set=*.args.{word}" for word in build_arguments]
        _run("docker", "buildx", "bake", *words, architecture, **settings)
        return ""
    words = [f"{name}={settings[name]}" for name in ("VERSION", "REVISION")] + build_arguments
    tag = f"pytinc:{version}"
    _run(
        "docker", "build", "--tag", tag, *(f"--build-arg={word}" for word in words), ".", DOCKER_BUILDKIT="0"
    )
    _run("docker", "save", "--output", str(output / f"pytinc-{version}-{architecture}.docker.tar"), tag)
    return ""


def _works(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def main(words: list[str]) -> int:
    """Make the release that the arguments ask for."""
    parser = argparse.ArgumentParser(description="Make all files of a release; upload nothing.")
    parser.add_argument("version")
    parser.add_argument("--architecture", action="append", choices=package.MACHINES, dest="architectures")
    parser.add_argument("--output")
    parser.add_argument("--compression", choices=("xz", "gzip"), default="xz", help="of the packages")
    parser.add_argument(
        "--build-arg", action="append", default=[], metavar="NAME=VALUE", help="for the Dockerfile"
    )
    arguments = parser.parse_args(words)
    output = Path(arguments.output or ROOT / f"dist/release-{arguments.version}").resolve()
    try:
        remark = make(arguments, output)
    except ReleaseError as error:
        sys.stderr.write(f"release: {error}\n")
        return 1
    sys.stdout.write((output / "SHA256SUMS").read_text())
    sys.stdout.write(f"{output}: {remark or 'complete'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
