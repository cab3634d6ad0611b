"""A wrong policy file is refused where it is wrong, and a right one means what it says."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import policy_file, policy_text, toml_lines
from ledger.core.policy import DEFAULT, Policy, from_toml
from tests.cli.calling import ledger
from tests.house import ROOT

SHIPPED = ROOT / "ledger/policies"

WRONG = [
    ("[run]\ndepth_mx = 5", 2, "run.depth_mx = 5", "did you mean depth_max?"),
    ("[run]\nagents_max = -1", 2, "run.agents_max = -1", "an integer from 0 to"),
    ("\n\nrun.agents_max = true", 3, "run.agents_max = true", "is a boolean"),
    ('[agent]\nchildren_max = "4"', 2, 'agent.children_max = "4"', "is a text"),
    ("[lease]\nttl_ms = 99", 2, "lease.ttl_ms = 99", "from 100 to 86400000"),
    ("[lease]\nttl_ms = 1.5", 2, "lease.ttl_ms = 1.5", "is a float"),
    (
        '[findings]\nrepeated_step = { warn_repeats = 2,  mode = "off" }',
        2,
        'findings.repeated_step.mode = "off"',
        '"enforce" or "evaluate_only"',
    ),
    (
        '[findings.runaway_fan_out]\n# why\n\ncritical = "kil_run"',
        4,
        "findings.runaway_fan_out.critical",
        '"kill_subtree" or "kill_run"',
    ),
    ('[roles."lead one"]\ndepth_max = 3', 2, 'roles."lead one".depth_max', "run.depth_max?"),
    ('[tenants.""]\nagents_max = 3', 1, 'tenants.""', "is too short"),
    ("run = 5", 1, "run = 5", "a table"),
    ("[[roles]]\nx = 1", 1, "roles", "a table"),
    ("[budget]\nx = 1", 1, "budget", "unreachable, client"),
    ('[client]\ncapture = """\nall"""\nqueue_max = 0', 4, "client.queue_max = 0", "from 1 to"),
    ("[run]\nx = ", 2, "", "is not TOML"),
    ("[run]\nx = 1\n[run]", 3, "", "is not TOML"),
    ("d = 1979-05-27 07:32:00\n[run]\nx = nan", 3, "run.x", "no such field"),
]


@pytest.mark.parametrize(("text", "line", "field", "allowed"), WRONG)
def test_a_mistake_is_named_by_line_field_value_and_what_is_allowed(
    text: str, line: int, field: str, allowed: str, tmp_path: Path
) -> None:
    """An operator who changes a limit at three in the morning must not have to guess."""
    file = tmp_path / "policy.toml"
    file.write_text(text)
    said = ledger("policy", "check", file)
    matching = [s for s in said.err.splitlines() if s.startswith(f"{file}:{line}: ")]

    assert said.code == 1
    assert any(field in s and allowed in s for s in matching), said.err


def test_every_mistake_is_reported_not_the_first_only(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text("[run]\na = 1\nb = 2\nagents_max = 'x'\n")
    said = ledger("policy", "check", file)

    assert [s.split(":")[1] for s in said.err.splitlines()] == ["2", "3", "4"]


@pytest.mark.parametrize("data", [b"\xff", b"x = " + b"[" * 100_000, b"#" * 2_000_000, b"\0"])
def test_a_file_that_is_no_text_is_refused(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_bytes(data)

    assert ledger("policy", "check", file).code == 1


def test_a_missing_file_or_a_folder_is_wrong_use(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        said = ledger("policy", "check", path)

        assert said.code == 2
        assert str(path) in said.err


def test_a_hostile_field_cannot_move_the_cursor(tmp_path: Path) -> None:
    """Policies come from pull requests, and CI logs are read on terminals."""
    file = tmp_path / "policy.toml"
    file.write_text('"\\u001b[2J" = "\\u001b]52;c;x\\u0007"')
    said = ledger("policy", "check", file)

    assert said.code == 1
    assert not set(said.err) & {"\x1b", "\x07"}


def test_a_right_file_says_its_digest(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text("# nothing\n")
    said = ledger("policy", "check", file)

    assert (said.code, DEFAULT.digest in said.out) == (0, True)


def test_limits_that_are_never_reached_are_noted(tmp_path: Path) -> None:
    """The policy is valid, and not what its author meant."""
    file = tmp_path / "policy.toml"
    file.write_text(
        "[agent]\nopen_children_max = 99\ntokens_max = 60000000\n"
        "[findings.repeated_step]\nwarn_repeats = 9\n"
    )
    said = ledger("policy", "check", file)

    assert said.code == 0
    assert said.out.count("note:") == 3


def test_comments_and_order_do_not_change_the_digest(tmp_path: Path) -> None:
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    one.write_text("[run]\nagents_max = 5\ndepth_max = 2")
    two.write_text("run.depth_max = 2 # less\nrun.agents_max = 5\nagent.children_max = 32")

    assert ledger("policy", "digest", one).out == ledger("policy", "digest", two).out
    assert ledger("policy", "digest", one).out != ledger("policy", "digest").out


def test_the_default_file_is_the_default() -> None:
    """A stranger copies it and changes one line; the others must already be true."""
    text = (SHIPPED / "default.toml").read_text()

    assert from_toml(text) == DEFAULT
    assert text == policy_text.toml(DEFAULT), "write it anew: ledger policy show > …/default.toml"
    assert tomllib.loads(text).keys() >= {"run", "agent", "findings", "client"}


@pytest.mark.parametrize("file", sorted(SHIPPED.glob("*.toml")), ids=lambda path: path.name)
def test_every_shipped_policy_is_right(file: Path) -> None:
    said = ledger("policy", "check", file)

    assert said.code == 0
    assert "note" not in said.out


def test_what_show_prints_is_the_same_policy(tmp_path: Path) -> None:
    file, again = tmp_path / "policy.toml", tmp_path / "again.toml"
    file.write_text(
        'name = "tight\\u001b"\n[roles."a.b"]\ntokens_max = 4\n[tenants.acme]\nagents_max = 2\n'
        '[efforts.simple]\ndepth_max = 1\n[findings.duplicated_work]\nmode = "evaluate_only"\n'
    )
    again.write_text(ledger("policy", "show", file).out)

    assert policy_file.load(again) == policy_file.load(file)
    assert ledger("--policy", file, "policy", "show").out == again.read_text()


def test_every_field_is_described() -> None:
    for field in policy_file.fields():
        assert policy_text.described(field), field.name
        assert field.allowed


def test_the_fields_are_those_of_the_policy() -> None:
    """The list is made from the schema; a kind of field it cannot read would be left out."""

    def leaves(value: Any, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
        if not isinstance(value, dict):
            return {path}
        return {leaf for key, inner in value.items() for leaf in leaves(inner, (*path, key))}

    fixed = {field.path for field in policy_file.fields() if "<" not in field.name}
    whole = leaves(Policy().model_dump(mode="json"))

    assert fixed == whole


keys = st.text(min_size=1, max_size=6) | st.sampled_from(["a", "b-c", "1", 'q"', "d.e"])
values = st.recursive(
    st.integers() | st.booleans() | st.text(max_size=8) | st.sampled_from(["#", '"""', "]}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)


@given(tree=st.dictionaries(keys, values, max_size=4), gaps=st.lists(st.integers(0, 2)))
def test_lines_are_found_whatever_stands_between(tree: dict[str, Any], gaps: list[int]) -> None:
    """A wrong line is worse than none: the reader changes what was right."""
    text, expected = "", {}
    for index, (key, value) in enumerate(tree.items()):
        text += "# [x] = 1\n" * (gaps[index] if index < len(gaps) else 0)
        expected[(key,)] = text.count("\n") + 1
        text += f"{json.dumps(key)} = {_inline(value)}  # = {{\n"
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return  # Hypothesis found a character that TOML does not allow in this form.
    found = toml_lines.lines(text)

    assert {path: line for path, line in found.items() if len(path) == 1} == expected


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_inline(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[\n" + ",\n".join(_inline(v) for v in value) + "]"
    return json.dumps(value)
