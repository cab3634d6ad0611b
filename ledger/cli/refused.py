"""`ledger refused`: what came in and was no event, with the reason; one of them with its bytes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger.cli.asking import catalog, rows_of
from ledger.cli.examples import example
from ledger.cli.output import Column, Csv, Form, Json, form, one_json, rows, say
from ledger.cli.place import Place, place
from ledger.cli.text import cut, when
from ledger.errors import LedgerError

if TYPE_CHECKING:
    from ledger.log.kafka_place import Place as KafkaPlace
    from ledger.log.kafka_refused import Refused

REASON_SHOWN = 80
ASCII = range(128)
HEX_WIDTH = 32
"""Bytes of a line, where they are no text."""

SQL = """
select pos, append_ms, source, reason, 'events' as topic, 0 as "partition", "offset",
       coalesce(octet_length(raw), octet_length(encode(payload))) as size, payload, raw
from refused
where ($pos is null or pos = $pos) and ($source is null or source = $source)
  and ($reason is null or contains(lower(reason), lower($reason)))
order by pos desc
limit $most
"""

COLUMNS = [
    Column("pos"),
    Column("append_ms", when),
    Column("source", wrap=False),
    Column("reason"),
    Column("topic"),
    Column("partition"),
    Column("offset"),
    Column("size"),
]


class NotRefused(LedgerError):
    """There is no refusal at `pos`."""

    def __init__(self, pos: int) -> None:
        super().__init__(pos)
        self.pos = pos

    def __str__(self) -> str:
        return f"nothing was refused at {self.pos}; `ledger refused` lists what was"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog=example(
            "ledger refused",
            "ledger refused --source host-7 --reason 'too many bytes'",
            "ledger --log kafka://127.0.0.1:9092 refused --json",
        )
    )(refused)


def refused(
    context: typer.Context,
    pos: Annotated[
        int | None, typer.Argument(help="Show this one, with its bytes (its `pos` in the list).")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Only of this source.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only with this in the reason.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="At most so many.", min=1)] = 50,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """List what was refused, the latest first: bytes that are no event, and why.

    A source is what the bytes say, or else the key they came under. One that was refused too
    often in a row is muted for a while: `source_muted` says so, and what follows is counted and
    not copied here. An event that could be read, but could not follow what came before, is no
    refusal of this kind: it has a verdict.
    """
    how = form(as_json, as_csv)
    where = place(context)
    wanted = {"pos": pos, "source": source, "reason": reason}
    found = _found(where, wanted, 1 if pos is not None else limit)
    if pos is None:
        data = [[one[column.name] for column in COLUMNS] for one in found]
        columns = COLUMNS
        if how is Form.TABLE:
            columns = [c._replace(show=_short) if c.name == "reason" else c for c in COLUMNS]
        rows(columns, data, how, empty="nothing was refused")
        return
    one = next(iter(found), None)
    if one is None:
        raise NotRefused(pos)
    if as_json:
        value = one.pop("value")
        text = _text(value)
        one_json({**one, **({"hex": value.hex()} if text is None else {"value": text})})
    else:
        _draw(one)


def _found(where: Place, wanted: dict[str, Any], most: int) -> list[dict[str, Any]]:
    """The refusals that are wanted, the latest first, as the columns and `value`."""
    if where.kafka:
        found = asyncio.run(_on_kafka(where.on_kafka(), wanted, most))
        return [one._asdict() for one in found]
    with catalog(where) as opened:
        return list(_in_file(opened, wanted, most))


def _in_file(opened: Any, wanted: dict[str, Any], most: int) -> Iterator[dict[str, Any]]:
    names = [*[column.name for column in COLUMNS], "payload", "raw"]
    for row in rows_of(opened.sql(SQL, {**wanted, "most": most})):
        one = dict(zip(names, row, strict=True))
        text, raw = one.pop("payload"), one.pop("raw")
        yield {**one, "value": bytes(raw) if raw is not None else (text or "").encode()}


async def _on_kafka(where: KafkaPlace, wanted: dict[str, Any], most: int) -> list[Refused]:
    from ledger.log.kafka_refused import refused as everything

    found: deque[Refused] = deque(maxlen=most)
    async for one in everything(where):
        if (
            wanted["pos"] in (None, one.pos)
            and wanted["source"] in (None, one.source)
            and (wanted["reason"] or "").lower() in one.reason.lower()
        ):
            found.append(one)
    return list(found)[::-1]


def _short(reason: str) -> str:
    return cut(reason, REASON_SHOWN)


def _text(value: bytes) -> str | None:
    """The bytes as text; None where they are none."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _draw(one: dict[str, Any]) -> None:
    value: bytes = one["value"]
    at = f"{one['topic']} partition {one['partition']} offset {one['offset']}"
    say(f"refused {one['pos']}: {at}, {when(one['append_ms'])}")
    say(f"source: {one['source'] or '(unknown)'}")
    say(f"reason: {one['reason']}")
    kept = "" if len(value) >= one["size"] else f", of which {len(value):,} were kept"
    say(f"{one['size']:,} bytes{kept}")
    text = _text(value)
    if text is not None:
        say(text)
        return
    for begin in range(0, len(value), HEX_WIDTH):
        line = value[begin : begin + HEX_WIDTH]
        shown = "".join(
            chr(byte) if chr(byte).isprintable() and byte in ASCII else "." for byte in line
        )
        say(f"{begin:08x}  {line.hex(' ', -4):<{HEX_WIDTH * 9 // 4}} {shown}")
