"""The house rules hold, and each of them can fail."""

import sys

import pytest

from tests import house
from tests.wheel import run

DOC = '"""What this module is for."""\n'


@pytest.mark.parametrize("rule", house.RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_its_rules(rule: house.Rule) -> None:
    complaints = [complaint for source in house.sources() for complaint in rule(source)]

    assert not complaints, "\n".join([rule.__doc__ or "", *complaints])


CORE, SHELL, TEST = "ledger/core/fold.py", "ledger/client.py", "tests/test_fold.py"
BAD: list[tuple[house.Rule, str, str]] = [
    (house.core_is_pure, CORE, "import time"),
    (house.core_is_pure, CORE, "from datetime import datetime"),
    (house.core_is_pure, CORE, "def f():\n    import os.path"),
    (house.core_is_pure, CORE, "from ..wire import encode"),
    (house.core_is_pure, CORE, "from ledger import wire"),
    (house.core_is_pure, CORE, "__import__('random')"),
    (house.core_is_pure, CORE, "print('hello')"),
    (house.core_is_pure, CORE, "key = hash('a')"),
    (house.core_is_pure, CORE, "def f():\n    global seen"),
    (house.core_is_pure, CORE, "for name in {'a', 'b'}: pass"),
    (house.core_is_pure, CORE, "[name for name in set(names)]"),
    (house.core_has_no_floats, "ledger/core/detectors/slow.py", "ratio = 0.5"),
    (house.core_has_no_floats, CORE, "mean = total / count"),
    (house.core_has_no_floats, CORE, "def share(part: int) -> float: ..."),
    (house.dependencies_have_one_owner, SHELL, "import duckdb"),
    (house.dependencies_have_one_owner, SHELL, "def f():\n    from pyarrow.parquet import x"),
    (house.dependencies_have_one_owner, SHELL, "importlib.import_module('typer')"),
    (house.dependencies_have_one_owner, SHELL, "from . import processors"),
    (house.dependencies_have_one_owner, SHELL, "from ledger.processors.app import app"),
    (house.dependencies_have_one_owner, "ledger/log/sqlite.py", "import aiokafka"),
    (house.dependencies_have_one_owner, "ledger/archivist.py", "import deltalake"),
    (house.dependencies_have_one_owner, "ledger/cli/__init__.py", "import faust"),
    (house.processors_has_one_name, TEST, "from processors.app import app"),
    (house.files_are_short, TEST, "\n" * 401),
    (house.functions_are_short, SHELL, "def f():\n" + "    pass\n" * 50),
    (house.everything_public_is_documented, SHELL, "x = 1"),
    (house.everything_public_is_documented, SHELL, '"""Client."""'),
    (house.everything_public_is_documented, SHELL, DOC + "def f(): ..."),
    (house.everything_public_is_documented, SHELL, DOC + "class Client: ..."),
    (house.tests_do_not_sleep, TEST, "time.sleep(1)"),
    (house.tests_do_not_sleep, TEST, "async def f():\n    await asyncio.sleep(0.1)"),
    (house.tests_do_not_mock, TEST, "from unittest.mock import Mock"),
    (house.tests_do_not_mock, TEST, "from unittest import mock"),
    (house.tests_do_not_mock, TEST, "monkeypatch.setattr('ledger.core.fold.apply', f)"),
    (house.tests_do_not_mock, TEST, "from ledger.core import fold\nm.setattr(fold, 'apply', f)"),
    (house.nothing_is_pickled, SHELL, "import pickle"),
    (house.queries_hold_no_python, "queries/helper.py", DOC),
]
GOOD: list[tuple[house.Rule, str, str]] = [
    (house.core_is_pure, CORE, "import re\nfrom collections.abc import Iterator"),
    (house.core_is_pure, CORE, "from . import events\nfrom ledger.core.tree import Tree"),
    (house.core_is_pure, CORE, "for name in sorted({'a', 'b'}): pass"),
    (house.core_is_pure, SHELL, "import time\nprint(time.time())"),
    (house.core_has_no_floats, CORE, "half = total // 2"),
    (house.core_has_no_floats, SHELL, "timeout_s = 0.5"),
    (house.dependencies_have_one_owner, "ledger/archive/delta.py", "import deltalake, pyarrow"),
    (house.dependencies_have_one_owner, "ledger/log/sqlite.py", "import apsw"),
    (
        house.dependencies_have_one_owner,
        "processors/judge.py",
        "import faust\nfrom .app import app",
    ),
    (house.dependencies_have_one_owner, TEST, "import duckdb"),
    (house.processors_has_one_name, TEST, "from ledger.processors.app import app"),
    (house.files_are_short, TEST, "\n" * 400),
    (house.functions_are_short, SHELL, "def f():\n" + "    pass\n" * 49),
    (house.everything_public_is_documented, SHELL, DOC + "def _f(): ..."),
    (house.everything_public_is_documented, TEST, DOC + "def test_it(): ..."),
    (house.tests_do_not_sleep, "tests/waiting.py", "time.sleep(1)"),
    (house.tests_do_not_mock, TEST, "monkeypatch.setattr(client, 'url', 'x')"),
]


@pytest.mark.parametrize(("rule", "path", "text"), BAD)
def test_each_rule_can_fail(rule: house.Rule, path: str, text: str) -> None:
    """A rule that never speaks looks just like a rule that is kept."""
    assert list(rule(house.parse(path, text)))


@pytest.mark.parametrize(("rule", "path", "text"), GOOD)
def test_each_rule_can_be_kept(rule: house.Rule, path: str, text: str) -> None:
    assert not list(rule(house.parse(path, text)))


def test_every_rule_has_been_seen_to_fail() -> None:
    assert {rule for rule, _, _ in BAD} == set(house.RULES)


def test_importing_ledger_stays_light() -> None:
    """Agents import it in their hot path; the archive and the worker are not theirs to load."""
    heavy = "duckdb pyarrow deltalake typer rich faust aiokafka".split()
    program = f"import sys, ledger; print([m for m in {heavy} if m in sys.modules])"

    assert run(sys.executable, "-c", program).strip() == "[]"


def tracked() -> list[str]:
    """What git holds. A folder without git (an unpacked archive) has nothing to say here."""
    if not (house.ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listing = run("git", "-C", house.ROOT, "ls-files", "-z")
    return [path for path in listing.split("\0") if path]


def test_the_top_level_is_fixed() -> None:
    """A newcomer reads the top level first; it stays short."""
    assert house.strangers_at_the_top(tracked()) == []
    assert house.strangers_at_the_top(["README.md", ".ci/run", "tools/x.py"]) == ["tools"]


def test_nothing_names_a_machine_or_a_registry() -> None:
    """The checkout means the same everywhere, and installs from whatever mirror its user has."""
    complaints: list[str] = []
    for name in tracked():
        path = house.ROOT / name
        if path.is_file() and b"\0" not in (content := path.read_bytes()):
            complaints += house.private_addresses(name, content.decode(errors="replace"))

    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize("folder", ["work", "root", "home"])
def test_a_machine_path_is_noticed(folder: str) -> None:
    assert list(house.private_addresses("x", f"cd /{folder}/someone"))
    assert not list(house.private_addresses("x", f"see docs/{folder}/page.md"))


@pytest.mark.parametrize("host", ["pypi", "files.pythonhosted"])
def test_a_registry_is_noticed(host: str) -> None:
    assert list(house.private_addresses("x", f"from {host}.org"))


def test_the_lock_names_no_address() -> None:
    """Hashes prove what was installed; where it came from is the user's choice."""
    lock = (house.ROOT / "requirements.lock").read_text()

    assert "--hash=sha256:" in lock
    assert "://" not in lock
