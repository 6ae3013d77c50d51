"""What is published: the wheel, made here as `make dist` makes it, and what the Debian and RPM packages say.

interop/test_deb.py installs these packages.
"""

from __future__ import annotations

import email.message
import email.parser
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import package
import pytest
import yaml
from hatch_build import addresses, links_of_an_index
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]
PACKAGING = ROOT / "packaging"
SCRIPTS = sorted(path for kind in ("deb", "rpm") for path in (PACKAGING / kind).iterdir())
FILES_OF_TINC = {
    "/etc/default/tinc", "/lib/systemd/system/tinc.service", "/lib/systemd/system/tinc@.service",
    "/usr/sbin/tinc", "/usr/sbin/tincd", "/usr/share/bash-completion/completions/tinc",
    "/usr/share/man/man5/tinc.conf.5.gz", "/usr/share/man/man8/tinc.8.gz", "/usr/share/man/man8/tincd.8.gz",
}  # fmt: skip
"""Of Debian's package tinc, which may be installed at the same time."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = str(tmp_path_factory.mktemp("dist"))
    (path,) = WheelBuilder(str(ROOT)).build(directory=folder, versions=["standard"])
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> email.message.Message:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return email.parser.Parser().parsestr(wheel.read(name).decode())


def test_the_wheel_has_all_of_the_program_and_nothing_of_the_lab(wheel: zipfile.ZipFile) -> None:
    source = ROOT / "src"
    modules = {file.relative_to(source).as_posix() for file in source.rglob("*.py")}
    program = {name for name in modules if not name.startswith("pytinc/lab/")}
    assert program < modules
    assert {name for name in wheel.namelist() if name.endswith(".py")} == program


def test_the_wheel_has_all_files_of_the_page(wheel: zipfile.ZipFile) -> None:
    static = ROOT / "src/pytinc/view/static"
    files = [path for path in static.rglob("*") if path.is_file()]
    assert len(files) > 15
    for path in files:
        assert wheel.read(path.relative_to(ROOT / "src").as_posix()) == path.read_bytes()


def test_the_wheel_has_the_licences_of_the_libraries_in_the_page(wheel: zipfile.ZipFile) -> None:
    shipped = {Path(name).name for name in wheel.namelist() if ".dist-info/licenses/" in name}
    assert shipped == {"COPYING", "d3.LICENSE", "uPlot.LICENSE"}
    (name,) = (name for name in wheel.namelist() if "licenses" in name and name.endswith("d3.LICENSE"))
    assert b"TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION" in wheel.read(name)


def test_the_wheel_brings_the_unit_to_where_systemd_looks_below_a_prefix(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith(".service"))
    assert name.endswith(".data/data/lib/systemd/system/pytinc@.service")
    assert wheel.read(name) == (ROOT / "systemd/pytinc@.service").read_bytes()


def test_the_metadata_name_an_author_and_every_version_of_python(metadata: email.message.Message) -> None:
    assert metadata["Author"]
    versions = [text for text in metadata.get_all("Classifier", []) if "Python :: 3." in text]
    assert [version.rpartition(".")[2] for version in versions] == ["11", "12", "13", "14"]


def test_the_page_is_an_extra(metadata: email.message.Message) -> None:
    assert "view" in metadata.get_all("Provides-Extra", [])
    needed = [text for text in metadata.get_all("Requires-Dist", []) if "extra == 'view'" in text]
    assert {text.partition(">")[0] for text in needed} == {"starlette", "uvicorn"}


def test_an_index_shows_the_readme_without_links_that_lead_nowhere(metadata: email.message.Message) -> None:
    shown = metadata.get_payload()
    assert isinstance(shown, str)
    assert "Two machines talking" in shown
    assert "](docs/" not in shown


def test_links_to_files_of_the_repository_become_absolute() -> None:
    text = "[a](docs/a.txt), [b](https://b.example/), [c](#here)"
    base = "https://host.example/x/blob/v1"
    assert links_of_an_index(text, base) == f"[a]({base}/docs/a.txt), [b](https://b.example/), [c](#here)"
    assert links_of_an_index(text, "") == "a, [b](https://b.example/), [c](#here)"


def test_without_a_repository_there_are_no_addresses() -> None:
    assert addresses("", "1") == {}
    assert addresses("https://host.example/x", "1")["Source"] == "https://host.example/x"


def config() -> dict[str, Any]:
    text = package.nfpm_config(package.parse(["deb", "--architecture", "amd64"]), "MIT AND (MIT OR Zlib)")
    parsed: dict[str, Any] = yaml.safe_load(text)
    return parsed


def test_the_bill_of_materials_has_the_libraries_in_the_page() -> None:
    zlib = {"bom-ref": "zlib==1", "type": "library", "name": "zlib"}
    bill: dict[str, Any] = {
        "metadata": {"component": {"bom-ref": "root", "name": "pytinc"}},
        "components": [zlib],
        "dependencies": [{"ref": "root", "dependsOn": ["zlib==1"]}, {"ref": "zlib==1"}],
    }
    package.add_vendored(bill)
    d3, uplot, last = bill["components"]
    assert (d3["name"], uplot["name"], last) == ("d3", "uPlot", zlib)
    assert "Apache-2.0" in d3["licenses"][0]["expression"]
    sums = (ROOT / "src/pytinc/view/static/vendor/SHA256SUMS").read_text()
    assert f"{d3['hashes'][0]['content']}  d3.min.js" in sums
    assert bill["dependencies"][0]["dependsOn"] == [d3["purl"], uplot["purl"], "zlib==1"]


def test_a_package_has_no_file_of_tincs_package() -> None:
    files = {entry["dst"] for entry in config()["contents"] if entry.get("type") != "dir"}
    assert files & FILES_OF_TINC == set()
    assert {"/usr/sbin/pytinc", "/usr/sbin/pytincd", "/usr/lib/systemd/system/pytinc@.service"} < files


def test_only_the_settings_of_the_unit_are_a_configuration_file() -> None:
    kinds = {entry["dst"]: entry.get("type", "") for entry in config()["contents"]}
    assert [name for name, kind in kinds.items() if kind.startswith("config")] == ["/etc/default/pytinc"]
    assert kinds["/etc/tinc"] == "dir"


def test_a_package_needs_the_python_that_its_modules_were_made_for() -> None:
    overrides = config()["overrides"]
    assert f"python3 (<< {package.NEXT_PYTHON})" in overrides["deb"]["depends"]
    assert f"/usr/bin/python{package.PYTHON}" in overrides["rpm"]["depends"]


def test_an_rpm_compiles_its_modules_when_the_old_ones_are_gone() -> None:
    assert config()["rpm"]["scripts"] == {"posttrans": "rpm/posttrans"}
    assert "compileall" in (PACKAGING / "rpm/posttrans").read_text()
    assert "postinstall" not in config()["overrides"]["rpm"]["scripts"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_the_scripts_of_packages_are_plain_shell_and_leave_the_keys_alone(script: Path) -> None:
    code = "".join(line for line in script.read_text().splitlines(True) if not line.lstrip().startswith("#"))
    assert "/etc/tinc" not in code
    subprocess.run(["sh", "-n", str(script)], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", "--shell=sh", str(script)], check=True)


def test_the_unit_reads_the_file_of_settings_of_the_package() -> None:
    assert "EnvironmentFile=-/etc/default/pytinc\n" in (ROOT / "systemd/pytinc@.service").read_text()
