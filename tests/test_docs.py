"""The reference is complete and true, its examples work, and its links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from ledger import wire
from ledger.catalog import Catalog
from ledger.cli import reference
from ledger.cli.app import hoisted
from ledger.cli.reference import about_events, commands, examples, glossary
from ledger.cli.reference.events import SHARED, name
from ledger.cli.reference.queries import example
from ledger.cli.schema import verdict_schema
from ledger.core.detectors import DETECTORS
from ledger.core.events import EVENT_TYPES, Event
from ledger.policy_file import fields
from tests.house import ROOT

DOCS = ROOT / "ledger/docs"
README = ROOT / "README.md"
HAND_WRITTEN = {"design", "guarantees", "client", "fleet", "contributing"}
REWRITE = "write it anew: `ledger docs --write ledger/docs`"


@pytest.mark.parametrize("page", reference.PAGES)
def test_a_generated_page_is_what_the_code_says(page: str) -> None:
    """A reference that is nearly right is worse than none."""
    assert (DOCS / f"{page}.md").read_text() == reference.PAGES[page](), REWRITE


def test_every_page_is_generated_or_known() -> None:
    assert {path.stem for path in DOCS.glob("*.md")} == HAND_WRITTEN | set(reference.PAGES)


def test_every_event_says_who_writes_it_and_what_it_changes() -> None:
    assert set(about_events.ABOUT) == set(EVENT_TYPES)
    assert [type(event) for event in about_events.EXAMPLES] == list(EVENT_TYPES)


@pytest.mark.parametrize("event", about_events.EXAMPLES, ids=lambda event: event.type)
def test_an_example_is_an_event(event: Event) -> None:
    """People copy examples."""
    assert wire.decode(wire.encode(event)) == event


def test_every_field_has_a_meaning() -> None:
    shapes = [(cls.__name__, cls) for cls in SHARED]
    events = [(name(cls), cls) for cls in EVENT_TYPES]
    silent = [
        f"{place}.{field}"
        for place, cls in [*shapes, *events]
        for field in cls.model_fields
        if not glossary.meaning(place, field)
    ]

    assert not silent, f"say what they mean in ledger/cli/reference/glossary.py: {silent}"


def test_the_glossary_means_nothing_that_is_not_there() -> None:
    there = {field for cls in (*EVENT_TYPES, *SHARED) for field in cls.model_fields}
    meant = {key.rpartition(".")[2] for key in (*glossary.FIELDS, *glossary.ENVELOPE)}
    schema = verdict_schema()
    said = {field for node in (schema, *schema["$defs"].values()) for field in node["properties"]}  # type: ignore[attr-defined]

    assert meant <= there
    assert {key.rpartition(".")[2] for key in glossary.VERDICTS} <= said


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.NAME)
def test_every_finding_is_shown_as_the_fold_really_makes_it(detector: object) -> None:
    finding = examples.finding(detector.NAME)[1]  # type: ignore[attr-defined]

    assert finding.level
    assert f"## {finding.name}" in (DOCS / "findings.md").read_text()


def test_every_policy_field_is_in_the_reference() -> None:
    page = (DOCS / "policy.md").read_text()

    assert not [field.name for field in fields() if f"`{field.name}`" not in page]


def test_every_query_view_and_column_is_in_the_reference() -> None:
    page = (DOCS / "queries.md").read_text()
    for query in Catalog.queries().values():
        assert f"## {query.name}\n" in page
        assert f"$ {example(query)}" in page
    for view in Catalog.views().values():
        section = page.split(f"## View {view.name}\n")[1].split("\n## ")[0]
        assert not [column for column in view.columns if f"`{column}`" not in section]


def test_every_command_has_an_example_that_parses() -> None:
    """An example that the command itself would refuse is found by whoever trusts it first."""
    for line, command in commands.walk():
        shown = commands.examples(command)
        assert shown, f"ledger {line} has no example"
        for text in shown:
            program, *given = shlex.split(re.split(r" [<>|] ", text)[0])
            words = hoisted(given)
            own = words[words.index(line.split()[0]) :]
            assert (program, own[: len(line.split())]) == ("ledger", line.split()), text
            command.make_context(line, own[len(line.split()) :])


def test_every_command_and_option_says_what_it_does() -> None:
    for line, command in commands.walk():
        assert command.help, line
        for parameter in command.params:
            assert parameter.help, f"ledger {line}: {parameter.name}"


def pages() -> list[Path]:
    return [*sorted(DOCS.glob("*.md")), README]


def anchors(text: str) -> set[str]:
    """What the headings of a page can be linked by, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        if ":" in path:
            continue
        there = page.parent / path if path else page
        assert there.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(there.read_text()), f"{page.name}: {target}"


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.name)
def test_files_that_are_named_are_there(page: Path) -> None:
    """A contributor's page that names a file of last month sends people away."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    pattern = r"`((?:ledger|tests|queries|processors|infra)/[\w/.-]+)`"
    missing = [path for path in re.findall(pattern, text) if not (ROOT / path).exists()]

    assert not missing


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.name)
def test_prose_has_one_sentence_per_line(page: Path) -> None:
    """So that a diff shows which sentence changed. Lists and tables may hold more."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    prose = [line for line in text.splitlines() if re.match(r"[A-Z`]", line)]
    two = [line for line in prose if re.search(r"[a-z`)][.!?] [A-Z]", line)]

    assert not two


def names_in(page: str, pattern: str) -> set[str]:
    return set(re.findall(pattern, (DOCS / page).read_text()))


def test_the_contributors_page_names_what_there_is() -> None:
    """Whoever follows it must find each name where the page says."""
    from ledger.core import changes, checks, detectors, events, lifecycle, policy
    from ledger.importers import FORMATS

    named = names_in("contributing.md", r"`([A-Z_]{5,})`")
    there = {
        "DETECTORS": detectors, "DECIDES": DETECTORS[0], "REMEMBERS": DETECTORS[0],
        "FOLD_VERSION": lifecycle, "EVENT_TYPES": events, "CHANGES": changes, "CHECKS": checks,
        "STORIES": examples, "ABOUT": about_events, "EXAMPLES": about_events,
    }  # fmt: skip

    assert FORMATS
    assert named - {"FORMATS"} <= set(there)
    assert all(hasattr(module, name) for name, module in there.items())
    assert hasattr(policy, "Findings")
