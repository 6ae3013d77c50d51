"""The images of the container backend, made without pulling any.

The base is a small Debian system of the same suite as this machine (``interop/make-base.sh``). The C image
adds Debian's tinc 1.1 package to it; the image of pytinc is made with the repository's Dockerfile. The base
system and the package are kept in ``/var/cache/pytinc-interop`` for the next time.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from howto.engine import Engine
from pytinc.lab.namespaces import LabError, run
from pytinc.lab.node import Kind

REPOSITORY: Final = Path(__file__).resolve().parent.parent.parent
CACHE: Final = Path("/var/cache/pytinc-interop")
PACKAGES: Final = ("python3", "python3-venv", "iproute2", "iputils-ping")
BASE: Final = "pytinc-howto/base"
WHEELS: Final = "pytinc-howto/wheels"
NAMES: Final = {Kind.C: "pytinc-howto/tincd", Kind.PY: "pytinc-howto/pytinc"}
BOOTSTRAP_LIMIT_S: Final = 1800.0
DOWNLOAD_LIMIT_S: Final = 600.0
_WHEEL_OF_PYTINC: Final = "pytinc-*.whl"


@dataclass(frozen=True, slots=True)
class Images:
    """Makes the images in an engine."""

    engine: Engine

    def prepare(self) -> None:
        """Make what the builds need: the base system, tinc's package, the wheels. Raises LabError."""
        base = base_system((*PACKAGES, *dependencies(tinc_package())))
        self.engine.docker("import", str(base), BASE, timeout=120)
        self._make_wheels()

    def build(self) -> dict[Kind, str]:
        """Build the images and return their names by kind. Raises LabError."""
        self._build_tincd()
        self._build_pytinc()
        return NAMES

    def _make_wheels(self) -> None:
        """Make the image to build in: the base, and all wheels that pip needs (from this machine's index)."""
        self._check_python()
        with tempfile.TemporaryDirectory() as context:
            wheels = Path(context) / "wheels"
            run(
                sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(wheels),
                f"{REPOSITORY}[all]", *_build_requirements(), timeout=300,
            )  # fmt: skip
            # The build makes pytinc itself from the sources.
            for wheel in wheels.glob(_WHEEL_OF_PYTINC):
                wheel.unlink()
            (Path(context) / "Dockerfile").write_text(f"FROM {BASE}\nCOPY wheels /wheels\n")
            self.engine.build(Path(context), WHEELS)

    def _build_tincd(self) -> None:
        with tempfile.TemporaryDirectory() as context:
            file = shutil.copy(REPOSITORY / "docker/tincd.Dockerfile", context)
            shutil.copy(tinc_package(), context)
            self.engine.build(Path(context), NAMES[Kind.C], "--file", file, "--build-arg", f"BASE={BASE}")

    def _build_pytinc(self) -> None:
        arguments = {"BASE": BASE, "BUILDER": WHEELS, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels"}
        options = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
        self.engine.build(REPOSITORY, NAMES[Kind.PY], *options)

    def _check_python(self) -> None:
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        done = self.engine.docker("run", "--rm", "--network", "none", BASE, "python3", "-c", code)
        ours = f"{sys.version_info.major}.{sys.version_info.minor}"
        if done.stdout.strip() != ours:
            raise LabError(
                f"wheels made by Python {ours} do not fit the base system's Python {done.stdout.strip()}"
            )


@contextmanager
def _cache() -> Iterator[Path]:
    """Make the directory, and keep other processes from filling it at the same time."""
    try:
        CACHE.mkdir(exist_ok=True)
        descriptor = os.open(CACHE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise LabError(f"{CACHE} cannot be made: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield CACHE
    finally:
        os.close(descriptor)


def tinc_package() -> Path:
    """Return the path of Debian's tinc 1.1 package file; download it if it is not in the cache."""
    with _cache() as cache:
        if not (found := list(cache.glob("tinc_1.1*.deb"))):
            script = REPOSITORY / "interop/install-tincd.sh"
            run("sh", str(script), "--download", str(cache), timeout=DOWNLOAD_LIMIT_S)
            found = list(cache.glob("tinc_1.1*.deb"))
    if not found:
        raise LabError("what was downloaded is not a tinc 1.1 package")
    return found[0]


def dependencies(package: Path) -> list[str]:
    """Return the names of the packages that a package file depends on."""
    field = run("dpkg-deb", "--field", str(package), "Depends").stdout
    return [
        match[0] for part in field.split(",") if (match := re.match(r"[a-z0-9][a-z0-9+.-]+", part.strip()))
    ]


def base_system(packages: tuple[str, ...]) -> Path:
    """Return the path of a tar file of a Debian system with these packages; make it if it is not cached."""
    release = Path("/etc/os-release").read_bytes()
    digest = hashlib.sha256(release + " ".join(packages).encode()).hexdigest()[:12]
    with _cache() as cache:
        path = cache / f"base-{digest}.tar"
        if not path.exists():
            script = REPOSITORY / "interop/make-base.sh"
            run("sh", str(script), str(path), *packages, timeout=BOOTSTRAP_LIMIT_S)
    return path


def _build_requirements() -> list[str]:
    """Return the build requirements of pytinc's own wheel, from pyproject.toml."""
    requires: list[str] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["build-system"][
        "requires"
    ]
    return requires
