"""What is printed can be trusted: by a terminal, by a pipe, by a program that reads JSON."""

from __future__ import annotations

import csv
import datetime
import decimal
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.cli import text
from ledger.cli.output import Column, Form, plain, rows, say

HOSTILE = "\x1b]0;owned\x07 \x9b2J \u202edaed \u2028 \x00 \x7f \U000e0041"


def printed(capsys: pytest.CaptureFixture[str], *args: Any, **more: Any) -> str:
    rows(*args, **more)
    return capsys.readouterr().out


@pytest.mark.parametrize("form", Form)
def test_nothing_an_agent_wrote_reaches_a_terminal_raw(
    form: Form, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task is a stranger's text; an escape sequence in it must not set a clipboard."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: form is Form.CSV, raising=False)
    out = printed(capsys, ["a"], [[HOSTILE]], form)

    assert not [char for char in out if char != "\n" and text.UNSAFE.match(char)]
    assert "owned" in out


@given(value=st.text())
def test_safe_text_is_harmless_and_one_line(value: str) -> None:
    shown = text.safe(value)

    assert not text.UNSAFE.search(shown)
    assert len(shown.splitlines()) <= 1
    shown.encode()


@given(value=st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_json_means_what_was_there(value: str) -> None:
    """Escaping for the terminal must not change what a program reads."""
    from contextlib import redirect_stdout

    with redirect_stdout(io.StringIO()) as out:
        rows(["a"], [[value]], Form.JSON)

    assert json.loads(out.getvalue()) == [{"a": value}]


def test_sql_count_is_exactly_what_the_manual_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, ["n"], [[3]], Form.JSON) == '[{"n": 3}]\n'


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2**127 - 1, 2**127 - 1),
        (decimal.Decimal("12345678901234567890"), 12345678901234567890),
        (decimal.Decimal("1.5"), 1.5),
        (decimal.Decimal("0.1234567890123456789"), "0.1234567890123456789"),
        (decimal.Decimal("NaN"), None),
        (float("inf"), None),
        (datetime.datetime(2026, 3, 1, 14, 5, tzinfo=datetime.UTC), "2026-03-01T14:05:00+00:00"),
        (b"text", "text"),
        (b"\xff\x00", "ff00"),
        ({"a": [decimal.Decimal(1), None]}, {"a": [1, None]}),
        (True, True),
    ],
)
def test_json_keeps_every_digit(value: object, expected: object) -> None:
    """Money is summed in 128 bits; a float would lose cents of it."""
    assert plain(value) == expected
    json.dumps(plain(value), allow_nan=False)


def test_json_keeps_columns_of_one_name_apart(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, ["a", "a", "a_2"], [[1, 2, 3]], Form.JSON)

    assert list(json.loads(out)[0].values()) == [1, 2, 3]


def test_no_rows_are_an_empty_array_and_a_header(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, ["a"], [], Form.JSON) == "[]\n"
    assert printed(capsys, ["a"], [], Form.CSV) == "a\n"
    assert printed(capsys, ["a"], [], Form.TABLE, empty="none") == "none\n"


def test_csv_is_read_back_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    data = [['a "b", c\nd', 1, None, True, {"x": 1}]]
    out = printed(capsys, list("abcde"), data, Form.CSV)

    assert list(csv.reader(io.StringIO(out)))[1] == ['a "b", c\nd', "1", "", "true", '{"x": 1}']


def test_a_pipe_gets_everything_uncut_and_uncoloured(capsys: pytest.CaptureFixture[str]) -> None:
    """`| grep` must find what is there."""
    long = "x" * 500
    columns = [Column("text", style=lambda _: "red"), "n"]
    out = printed(capsys, columns, [[long, 7], ["y", 1234]], Form.TABLE)

    assert long in out
    assert "\x1b" not in out
    assert out.splitlines()[2].endswith("1234")


def test_markup_is_text(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    """`[red]` is an agent's name as good as any."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    out = printed(capsys, ["[b]a[/b]"], [["[red]x :smile:"]], Form.TABLE)

    assert "[red]x :smile:" in out
    assert "[b]a[/b]" in out


def test_wide_letters_stay_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, ["a", "b"], [["日本", "x"], ["abcd", "y"]], Form.TABLE).splitlines()

    assert lines[1].index("x") + 2 == lines[2].index("y")


@pytest.mark.parametrize(
    ("ms", "shown"),
    [
        (0, "0 ms"),
        (999, "999 ms"),
        (1_500, "1.5 s"),
        (200_000, "3 min 20 s"),
        (7_200_000, "2 h"),
        (273_600_000, "3 d 4 h"),
        (None, ""),
    ],
)
def test_durations_are_for_people(ms: object, shown: str) -> None:
    assert text.duration(ms) == shown


@pytest.mark.parametrize(
    ("microdollars", "shown"),
    [
        (0, "$0.00"),
        (4_100, "$0.0041"),
        (29_775_000, "$29.77"),
        (1_234_567_890_000, "$1,234,567.89"),
    ],
)
def test_money_is_for_people(microdollars: int, shown: str) -> None:
    assert text.money(microdollars) == shown


def test_say_prints_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    say("a\nb")

    assert capsys.readouterr().out == "a\\nb\n"
