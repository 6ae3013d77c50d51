"""What is published: the wheel's content and metadata, made here as `make dist` makes them."""

from __future__ import annotations

import email.message
import email.parser
import zipfile
from pathlib import Path

import pytest
from hatch_build import addresses, links_of_an_index
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]


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
