"""Rows as people and programs want them: a table, plain lines, JSON or CSV.

What a newcomer would get wrong
    On a terminal a table is drawn. Piped it is plain text: no colours, nothing cut off.
    `--json` is one array of objects, whole numbers exact however large; `--csv` is RFC 4180.
    Rows may be an iterator: JSON and CSV are written as they come.
"""

from __future__ import annotations

import csv
import datetime
import decimal
import json
import math
import os
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from ledger.cli.text import UNSAFE, safe

if TYPE_CHECKING:
    from rich.console import Console

Json = Annotated[bool, typer.Option("--json", help="Print JSON: one array of objects.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV, with a header.")]

Row = Sequence[object]


class Form(Enum):
    """How rows are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class Column(NamedTuple):
    """A column: its name for programs; how a table shows a value, where not as it is.

    `right` aligns texts as numbers are; without `wrap` a terminal keeps a cell in one line.
    """

    name: str
    show: Callable[[Any], str] | None = None
    style: Callable[[Any], str] | None = None
    wrap: bool = True
    right: bool = False


def form(as_json: bool, as_csv: bool) -> Form:
    """The form that the two options choose. Raises typer.BadParameter when both are given."""
    if as_json and as_csv:
        raise typer.BadParameter("choose one of --json and --csv")
    return Form.JSON if as_json else Form.CSV if as_csv else Form.TABLE


def console(*, stderr: bool = False) -> Console:
    """Where drawn things go. Markup, emoji codes and guessed colours are off: texts are data."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=False)


def on_terminal() -> bool:
    """Whether standard output is a terminal that can draw."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def say(line: str = "") -> None:
    """Print one line of text for people, made safe."""
    print(safe(line))


def say_marked(*parts: str | tuple[str, str]) -> None:
    """Print one line of parts; a pair is text with its style, which only a terminal shows."""
    pairs = [(part, "") if isinstance(part, str) else part for part in parts]
    if not on_terminal():
        say("".join(text for text, _ in pairs))
        return
    from rich.text import Text

    console().print(Text.assemble(*[(safe(text), how) for text, how in pairs]))


class StatusLine:
    """One line on a terminal, drawn over itself; nothing anywhere else.

    Call `clear` before anything else is printed.
    """

    def __init__(self) -> None:
        self._on = on_terminal()
        self._drawn = False

    def draw(self, text: str) -> None:
        """Show `text` in place of what was shown."""
        if self._on:
            wide = max(20, shutil.get_terminal_size().columns - 1)
            sys.stdout.write(f"\r\x1b[K{safe(text)[:wide]}")
            sys.stdout.flush()
            self._drawn = True

    def clear(self) -> None:
        """Take the line away."""
        if self._drawn:
            sys.stdout.write("\r\x1b[K")
            sys.stdout.flush()
            self._drawn = False


def complain(line: str) -> None:
    """Print one line on standard error, made safe; newlines stay."""
    print("\n".join(safe(part) for part in line.split("\n")), file=sys.stderr)


def rows(
    columns: Sequence[Column | str], data: Iterable[Row], how: Form, *, empty: str = ""
) -> None:
    """Print rows. `empty` is said in place of a table without rows, to people only."""
    full = [Column(c) if isinstance(c, str) else c for c in columns]
    if how is Form.JSON:
        _json(_unique([c.name for c in full]), data)
    elif how is Form.CSV:
        _csv([c.name for c in full], data)
    else:
        listed = list(data)
        if not listed and empty:
            say(empty)
        elif on_terminal():
            _drawn(full, listed)
        else:
            _plain(full, listed)


def one_json(value: object) -> None:
    """Print one value as JSON, indented."""
    print(json_escaped(json.dumps(value, ensure_ascii=False, indent=2, default=plain)))


# --- JSON and CSV -------------------------------------------------------------------------------


def plain(value: object) -> object:
    """The value as JSON can say it without losing any of it; texts where JSON has no such type."""
    match value:
        case float() if not math.isfinite(value):
            return None
        case None | bool() | int() | float() | str():
            return value
        case decimal.Decimal():
            return _decimal(value)
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
        case bytes() | bytearray() | memoryview():
            return _bytes(bytes(value))
        case dict():
            return {str(plain(key)): plain(inner) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(inner) for inner in value]
    return str(value)


def _decimal(value: decimal.Decimal) -> object:
    """A whole number, a float that means the same, or else the digits as text."""
    if not value.is_finite():
        return None
    if value == value.to_integral_value():
        return int(value)
    return float(value) if decimal.Decimal(repr(float(value))) == value else str(value)


def _bytes(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()


def json_escaped(text: str) -> str:
    """JSON with what would act on a terminal as escapes; it means the same."""
    return UNSAFE.sub(lambda found: _json_escape(found.group()), text)


def _json_escape(char: str) -> str:
    return char if char == "\n" else json.dumps(char)[1:-1] if char != "\x7f" else "\\u007f"


def _json(names: Sequence[str], data: Iterable[Row]) -> None:
    before = "["
    for row in data:
        pairs = {name: plain(value) for name, value in zip(names, row, strict=True)}
        print(before + json_escaped(json.dumps(pairs, ensure_ascii=False)), end="")
        before = ",\n "
    print("]" if before != "[" else "[]")


def _csv(names: Sequence[str], data: Iterable[Row]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    for row in data:
        writer.writerow([_cell_csv(value) for value in row])


def _cell_csv(value: object) -> object:
    """Nested values as JSON. Controls other than newlines are escaped when a terminal looks."""
    simple = plain(value)
    if isinstance(simple, (dict, list)):
        return json.dumps(simple, ensure_ascii=False)
    if isinstance(simple, str) and sys.stdout.isatty():
        return "\n".join(safe(line) for line in simple.split("\n"))
    return "true" if simple is True else "false" if simple is False else simple


def _unique(names: Sequence[str]) -> list[str]:
    """Names that a JSON object can hold side by side: the second `n` becomes `n_2`."""
    found: list[str] = []
    for name in names:
        number, own = 1, name
        while own in found:
            number += 1
            own = f"{name}_{number}"
        found.append(own)
    return found


# --- tables -------------------------------------------------------------------------------------


def _shown(column: Column, value: object) -> str:
    if column.show is not None:
        return safe(column.show(value))
    simple = plain(value)
    if simple is None:
        return ""
    if isinstance(simple, (dict, list)):
        return safe(json.dumps(simple, ensure_ascii=False))
    return safe(str(simple).lower() if isinstance(simple, bool) else str(simple))


def _numeric(data: Sequence[Row], index: int) -> bool:
    values = [row[index] for row in data if row[index] is not None]
    kinds = (int, float, decimal.Decimal)
    return bool(values) and all(isinstance(v, kinds) and not isinstance(v, bool) for v in values)


def _cells(columns: Sequence[Column], data: Iterable[Row]) -> Iterator[list[str]]:
    for row in data:
        yield [_shown(column, value) for column, value in zip(columns, row, strict=True)]


def width(text: str) -> int:
    """Columns that a text takes on a terminal: wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(bool(unicodedata.combining(char)) for char in text)


def _plain(columns: Sequence[Column], data: Sequence[Row]) -> None:
    """Aligned text, two spaces between columns, one line a row."""
    lines = [[safe(c.name) for c in columns], *_cells(columns, data)]
    widths = [max(map(width, cells)) for cells in zip(*lines, strict=True)]
    right = [c.right or _numeric(data, index) for index, c in enumerate(columns)]
    for line in lines:
        cells = []
        for cell, wide, to_right in zip(line, widths, right, strict=True):
            space = " " * (wide - width(cell))
            cells.append(space + cell if to_right else cell + space)
        print("  ".join(cells).rstrip())


def _drawn(columns: Sequence[Column], data: Sequence[Row]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for index, column in enumerate(columns):
        justify = "right" if column.right or _numeric(data, index) else "left"
        table.add_column(
            Text(safe(column.name)),
            justify=justify,  # type: ignore[arg-type]
            overflow="fold",
            no_wrap=not column.wrap,
            min_width=width(column.name),
        )
    for row, cells in zip(data, _cells(columns, data), strict=True):
        styles = [c.style(v) if c.style else "" for c, v in zip(columns, row, strict=True)]
        table.add_row(*[Text(cell, style) for cell, style in zip(cells, styles, strict=True)])
    console().print(table)
