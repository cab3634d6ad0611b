"""The wheel holds one import package, with everything it needs at run time and nothing else."""

import tomllib
from collections.abc import Iterator
from email.message import Message
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest

import ledger
from tests.wheel import ROOT

pytestmark = pytest.mark.xdist_group("wheel")


@pytest.fixture
def names(wheel: Path) -> set[str]:
    with ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture
def metadata(wheel: Path) -> Message:
    with ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def expected() -> Iterator[str]:
    """What the checkout has and the wheel must have, as names inside the wheel."""
    for folder, inside in (("ledger", "ledger"), ("processors", "ledger/processors")):
        for path in (ROOT / folder).rglob("*.py"):
            yield f"{inside}/{path.relative_to(ROOT / folder).as_posix()}"
    data = ("ledger/docs/*.md", "ledger/policies/*.toml", "ledger/catalog/views/*.sql")
    for pattern in (*data, "queries/*.sql"):
        for path in ROOT.glob(pattern):
            yield f"ledger/{path.relative_to(ROOT).as_posix().removeprefix('ledger/')}"
    yield from ("ledger/py.typed", "ledger/topics.toml")


def test_the_wheel_holds_what_the_checkout_holds(names: set[str]) -> None:
    """A folder without __init__.py, or a new kind of data, is left out without a word."""
    installed = {name for name in names if ".dist-info/" not in name}

    assert installed == set(expected())


def test_the_wheel_installs_one_import_package(names: set[str]) -> None:
    """A top-level `processors` or `tests` in everybody's environment would be rude."""
    tops = {name.split("/")[0] for name in names}

    assert {top for top in tops if not top.endswith(".dist-info")} == {"ledger"}


def test_the_metadata_says_what_the_project_is(metadata: Message) -> None:
    assert metadata["Name"] == "coordination-ledger"
    assert metadata["Version"] == ledger.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"


def test_the_wheel_offers_the_command(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith("entry_points.txt"))
        entry_points = archive.read(name).decode()

    assert "ledger = ledger.cli:main" in entry_points


def test_the_wheel_carries_the_license(names: set[str]) -> None:
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_kafka_is_an_extra(metadata: Message) -> None:
    """The embedded ledger is the default; it must not pull in a Kafka client."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    plain = [r for r in metadata.get_all("Requires-Dist", []) if "extra ==" not in r]

    assert set(plain) == set(project["dependencies"])
    assert not any(r.startswith(("aiokafka", "faust")) for r in plain)
