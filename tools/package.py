"""Makes the Debian and the RPM package: pytinc and its libraries below /usr/lib/pytinc, packed by nfpm.

    python tools/package.py deb rpm [--architecture amd64|arm64] [--revision N] [--wheel FILE] [--output DIR]

The libraries are wheels from the package index that pip is set up for, so that nothing is compiled here, and
a package for the other architecture can be made as well. Compiled modules fit one version of Python: that of
the interpreter that runs this, which the package then depends on.

Two runs for one commit with the same libraries make the same files. PIP_CONSTRAINT=FILE takes the same
libraries again, where FILE is ``pytinc-VERSION-ARCHITECTURE.constraints.txt``, beside the packages.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from datetime import UTC, datetime
from email.parser import Parser
from email.utils import format_datetime
from pathlib import Path
from string import Template
from typing import Any, Final

import licences

ROOT: Final = Path(__file__).resolve().parent.parent
PREFIX: Final = "usr/lib/pytinc"
PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
NEXT_PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor + 1}"
MACHINES: Final = {"amd64": "x86_64", "arm64": "aarch64"}
OLDEST_GLIBC, NEWEST_GLIBC = 5, 28
"""Wheels for glibc 2.5 to 2.28 are taken; packaging/nfpm.yaml has the newest as a dependency."""
COMMANDS: Final = ("pytinc", "pytincd")
LEFT_OUT: Final = (
    "pytun_pmd3/wintun/bin",  # drivers for Windows, under a licence of their own
    "numpy/**/tests", "numpy/**/*.a", "numpy/**/*.lib",
)  # fmt: skip
"""What the libraries have and nothing at run time needs, as patterns below site-packages."""
DEFAULT_MAINTAINER: Final = "The pytinc developers <pytinc@packages.invalid>"


class PackageError(Exception):
    """A package cannot be made; the text says why."""


def version() -> str:
    """Return pytinc's version, as the sources have it."""
    text = (ROOT / "src/pytinc/__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    assert match is not None
    return match[1]


def package_version(version: str) -> str:
    """Return a version as dpkg and rpm sort it: a pre-release such as 1.0rc1 comes before 1.0."""
    return re.sub(r"\.?(a|b|rc|dev)(\d+)", r"~\1\2", version)


def epoch() -> int:
    """Return the time of all files, in seconds: SOURCE_DATE_EPOCH, else that of the commit, else now."""
    if word := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(word)
    done = subprocess.run(
        ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"], capture_output=True, text=True, check=False
    )
    return int(done.stdout) if done.returncode == 0 else int(datetime.now(UTC).timestamp())


class Stage:
    """A directory in which the files of the packages for one architecture are laid out."""

    def __init__(self, directory: Path, architecture: str) -> None:
        self.directory = directory
        self.architecture = architecture
        self.site = directory / PREFIX / f"lib/python{PYTHON}/site-packages"
        self.wheels = directory / "wheels"
        shutil.rmtree(directory, ignore_errors=True)
        self.wheels.mkdir(parents=True)

    def fetch(self, wheel: Path) -> None:
        """Get the wheels of all that pytinc can use; nothing is built. Raises `PackageError`."""
        machine = MACHINES[self.architecture]
        names = [f"manylinux_2_{minor}_{machine}" for minor in range(OLDEST_GLIBC, NEWEST_GLIBC + 1)]
        names += [f"{old}_{machine}" for old in ("manylinux1", "manylinux2010", "manylinux2014")]
        _run(
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
            "--only-binary=:all:", *(f"--platform={name}" for name in names), f"--python-version={PYTHON}",
            "--dest", str(self.wheels), f"{wheel}[all]",
        )  # fmt: skip
        if machine != platform.machine():
            for path in self.wheels.glob("*.whl"):
                _check_markers(path)

    def install(self) -> None:
        """Lay the wheels out as in a virtual environment whose place is /usr/lib/pytinc."""
        from installer import install
        from installer.destinations import SchemeDictionaryDestination
        from installer.sources import WheelFile

        prefix = f"/{PREFIX}"
        site = f"{prefix}/lib/python{PYTHON}/site-packages"
        places = {
            "purelib": site, "platlib": site, "scripts": f"{prefix}/bin", "data": prefix,
            "headers": f"{prefix}/include",
        }  # fmt: skip
        for path in sorted(self.wheels.glob("*.whl")):
            destination = SchemeDictionaryDestination(
                places, f"{prefix}/bin/python3", "posix", destdir=str(self.directory)
            )
            with WheelFile.open(path) as source:
                install(source, destination, {"INSTALLER": b"pytinc's tools/package.py\n"})
        self._trim()
        root = self.directory / PREFIX
        (root / "bin/python3").symlink_to(f"../../../bin/python{PYTHON}")
        (root / "pyvenv.cfg").write_text(
            f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {PYTHON}\n", encoding="utf-8"
        )

    def _trim(self) -> None:
        """Remove what is not needed, and set modes that do not depend on the wheels or the umask."""
        root = self.directory / PREFIX
        for path in (root / "bin").iterdir():
            if path.name not in COMMANDS:
                path.unlink()
        for name in ("share", "include", "lib/systemd"):
            shutil.rmtree(root / name, ignore_errors=True)
        for pattern in LEFT_OUT:
            for path in list(self.site.glob(pattern)):
                if path.is_dir():
                    shutil.rmtree(path)
                elif path.exists():
                    path.unlink()
        for path in root.rglob("*"):
            path.chmod(0o755 if path.is_dir() or path.parent == root / "bin" else 0o644)
        root.chmod(0o755)

    def python(self) -> str:
        """Return an interpreter of this machine that would import the libraries laid out here."""
        directory = self.directory / "reader"
        venv.create(directory, with_pip=False)
        (directory / f"lib/python{PYTHON}/site-packages/stage.pth").write_text(f"{self.site}\n")
        return str(directory / "bin/python")

    def set_times(self, seconds: int) -> None:
        """Give all files this time."""
        for path in self.directory.rglob("*"):
            os.utime(path, (seconds, seconds), follow_symlinks=False)


def _check_markers(wheel: Path) -> None:
    """Raise `PackageError` if a wheel needs other libraries on other machines: pip looks at this one."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        metadata = Parser().parsestr(archive.read(name).decode())
    for need in metadata.get_all("Requires-Dist", []):
        if "platform_machine" in need and "extra ==" not in need:
            raise PackageError(f"{wheel.name} needs {need}: make this package on such a machine")


def _run(*command: str, cwd: Path = ROOT, env: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PackageError(f"{' '.join(command[:4])} ... failed:\n{done.stdout}{done.stderr}")


def build_wheel(directory: Path) -> Path:
    """Build pytinc's own wheel into an empty directory, and return its path."""
    shutil.rmtree(directory, ignore_errors=True)
    _run(
        sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps",
        "--wheel-dir", str(directory), str(ROOT),
        env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch())},
    )  # fmt: skip
    (wheel,) = directory.glob("*.whl")
    return wheel


def write_gzip(path: Path, text: str) -> None:
    """Write a compressed file that depends on the text alone."""
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def debian_changelog(version: str, revision: str, maintainer: str, seconds: int) -> str:
    """Return the changelog of the packaging, which points to pytinc's own."""
    date = format_datetime(datetime.fromtimestamp(seconds, UTC))
    return (
        f"pytinc ({package_version(version)}-{revision}) unstable; urgency=medium\n\n"
        "  * What this version of pytinc has changed is in changelog.gz.\n\n"
        f" -- {maintainer}  {date}\n"
    )


def write_documents(
    stage: Stage, revision: str, maintainer: str, seconds: int
) -> list[licences.Distribution]:
    """Write what is in the package beside the program; return what is shipped. Raises `LicenceError`."""
    for source, name in {
        "man/pytinc.8": "pytinc.8", "man/pytincd.8": "pytincd.8", "man/tinc.conf.5": "tinc.conf.5",
        "CHANGELOG.md": "changelog",
    }.items():  # fmt: skip
        text = (ROOT / source).read_text(encoding="utf-8")
        if source == "man/tinc.conf.5":
            text = text.replace(".TH TINC.CONF 5 ", ".TH TINC.CONF 5pytinc ")
        write_gzip(stage.directory / f"{name}.gz", text)
    for source in (
        "systemd/pytinc@.service", "src/pytinc/cli/completions/pytinc.bash",
        "src/pytinc/cli/completions/pytinc.fish", "src/pytinc/cli/completions/_pytinc", "COPYING",
        "packaging/default", "packaging/copyright", "packaging/lintian-overrides",
    ):  # fmt: skip
        target = stage.directory / Path(source).name
        shutil.copyfile(ROOT / source, target)
        target.chmod(0o644)
    for kind in ("deb", "rpm"):
        shutil.copytree(ROOT / "packaging" / kind, stage.directory / kind)
    debian = debian_changelog(version(), revision, maintainer, seconds)
    write_gzip(stage.directory / "changelog.Debian.gz", debian)
    python = stage.python()
    found = licences.distributions(python) + licences.vendored()
    licences.verdict(found)
    write_gzip(stage.directory / "licenses.txt.gz", licences.list_with_texts(found))
    write_gzip(stage.directory / "pytinc.cdx.json.gz", bill_of_materials(python, seconds))
    return found


def bill_of_materials(python: str, seconds: int) -> str:
    """Return the SBOM (CycloneDX, JSON) of what an interpreter would import. Raises `PackageError`.

    pytinc itself is its subject.
    """
    path = Path(python).parent / "sbom.json"
    _run(
        sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", "--of", "JSON",
        "--mc-type", "application", "--pyproject", str(ROOT / "pyproject.toml"), "-o", str(path), python,
        env={**os.environ, "SOURCE_DATE_EPOCH": str(seconds)},
    )  # fmt: skip
    bill = json.loads(path.read_text(encoding="utf-8"))
    bill["metadata"]["component"]["version"] = version()
    add_vendored(bill)
    return json.dumps(bill, indent=2) + "\n"


def add_vendored(bill: dict[str, Any]) -> None:
    """Add the libraries in the page of `pytinc view` to an SBOM: no metadata name them."""
    subject = bill["metadata"]["component"]["bom-ref"]
    entry = next((each for each in bill["dependencies"] if each["ref"] == subject), None)
    if entry is None:
        entry = {"ref": subject}
        bill["dependencies"].append(entry)
    for each in licences.vendored():
        purl = f"pkg:npm/{each.name.lower()}@{each.version}"
        content = (licences.VENDOR / f"{each.name}.min.js").read_bytes()
        bill["components"].append(
            {
                "bom-ref": purl,
                "type": "library",
                "name": each.name,
                "version": each.version,
                "licenses": [{"expression": each.expression}],
                "purl": purl,
                "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}],
            }
        )
        entry["dependsOn"] = sorted([*entry.get("dependsOn", ()), purl])
    bill["components"].sort(key=lambda each: each["bom-ref"])
    bill["dependencies"].sort(key=lambda each: each["ref"])


def make(arguments: argparse.Namespace) -> list[Path]:
    """Make the packages and what belongs beside them; return the paths. Raises PackageError, LicenceError."""
    seconds = epoch()
    output = Path(arguments.output).resolve()
    output.mkdir(parents=True, exist_ok=True)
    work = ROOT / "build/package"
    wheel = Path(arguments.wheel).resolve() if arguments.wheel else build_wheel(work / "wheel")
    stage = Stage(work / arguments.architecture, arguments.architecture)
    stage.fetch(wheel)
    stage.install()
    found = write_documents(stage, arguments.revision, arguments.maintainer, seconds)
    stage.set_times(seconds)
    made = [
        _pack(kind, stage, arguments, licences.joint_expression(found), output) for kind in arguments.kinds
    ]
    beside = f"pytinc-{version()}-{arguments.architecture}"
    for name, source in {"licenses.txt": "licenses.txt.gz", "cdx.json": "pytinc.cdx.json.gz"}.items():
        path = output / f"{beside}.{name}"
        path.write_bytes(gzip.decompress((stage.directory / source).read_bytes()))
        made.append(path)
    path = output / f"{beside}.constraints.txt"
    others = ("pytinc", *licences.VENDORED)
    path.write_text("".join(f"{each.name}=={each.version}\n" for each in found if each.name not in others))
    return [*made, path]


def nfpm_config(arguments: argparse.Namespace, expression: str) -> str:
    """Return packaging/nfpm.yaml with the values of one package; ``expression`` is its licence (SPDX)."""
    values = {
        "ARCHITECTURE": arguments.architecture, "VERSION": package_version(version()),
        "REVISION": arguments.revision, "MAINTAINER": arguments.maintainer, "LICENSE": expression,
        "PYTHON": PYTHON, "NEXT_PYTHON": NEXT_PYTHON, "COMPRESSION": arguments.compression,
    }  # fmt: skip
    return Template((ROOT / "packaging/nfpm.yaml").read_text(encoding="utf-8")).substitute(values)


def _pack(kind: str, stage: Stage, arguments: argparse.Namespace, expression: str, output: Path) -> Path:
    number, revision = package_version(version()), arguments.revision
    if kind == "deb":
        path = output / f"pytinc_{number}-{revision}_{arguments.architecture}.deb"
    else:
        path = output / f"pytinc-{number}-{revision}.{MACHINES[arguments.architecture]}.rpm"
    nfpm = Path(sys.executable).with_name("nfpm")
    config = nfpm_config(arguments, expression)
    (stage.directory / "nfpm.yaml").write_text(config, encoding="utf-8")
    _run(
        str(nfpm), "package", "--config", "nfpm.yaml", "--packager", kind, "--target", str(path),
        cwd=stage.directory, env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch())},
    )  # fmt: skip
    return path


def parse(words: list[str]) -> argparse.Namespace:
    """Return the arguments of the command line."""
    this_machine = next((name for name, word in MACHINES.items() if word == platform.machine()), None)
    parser = argparse.ArgumentParser(description="Make packages of pytinc.")
    parser.add_argument("kinds", nargs="+", choices=("deb", "rpm"))
    parser.add_argument(
        "--architecture", choices=MACHINES, default=this_machine, required=this_machine is None
    )
    parser.add_argument("--revision", default="1", help="number of the packaging of this version")
    parser.add_argument("--maintainer", default=os.environ.get("MAINTAINER") or DEFAULT_MAINTAINER)
    parser.add_argument(
        "--compression", choices=("xz", "gzip"), default="xz", help="gzip is five times as fast"
    )
    parser.add_argument("--wheel", help="pytinc's wheel, if it is there already")
    parser.add_argument("--output", default=str(ROOT / "dist"))
    return parser.parse_args(words)


def main(words: list[str]) -> int:
    """Make what the arguments ask for, and print the paths."""
    try:
        made = make(parse(words))
    except (PackageError, licences.LicenceError) as error:
        sys.stderr.write(f"package: {error}\n")
        return 1
    sys.stdout.write("".join(f"{path}\n" for path in made))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
