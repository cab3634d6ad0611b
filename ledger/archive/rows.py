"""From bytes in a log to typed rows: what the archive holds and the catalog asks.

What a newcomer would get wrong
    A row never lies about its payload: `refused` is NULL exactly when the bytes decode as the
    published schema says, and only then are the typed columns set.
    Nothing is dropped. Bytes that are no event are a row too, with the reason in `refused`,
    and in `raw` where they are not even text.
    NULL in a typed column means that this kind of event has no such field, or that it is empty;
    fields that the wire leaves out because they have their default are filled in here.
    DuckDB types the JSON (0.9 microseconds an event; `pyarrow.json` takes 2.3 and can shift rows
    when one value holds two objects). It takes the first of two equal keys where the judge heard
    the last, so a value with a repeated key is typed from the decoded event instead.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import Any, Literal, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter, ValidationError

from ledger.core.verdicts import Verdict
from ledger.wire import BYTES_MAX, explain, reader

LogName = Literal["events", "verdicts", "refused"]
LOGS: tuple[LogName, ...] = ("events", "verdicts", "refused")


class Batch(NamedTuple):
    """Rows of a log as columns: `positions` there, `offsets` of the events they are or are about.

    `append_ms` is when the log took each in, None where the log keeps no time. `refusals` are
    the sources and reasons of a refused log.
    """

    positions: Sequence[int]
    offsets: Sequence[int | None]
    append_ms: Sequence[int | None]
    runs: Sequence[str]
    values: Sequence[bytes]
    refusals: tuple[Sequence[str], Sequence[str]] = ((), ())


COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    "log": (pa.string(), "`events`, `verdicts` or `refused`"),
    "partition": (pa.int32(), "partition of the log; 0 in a SQLite log"),
    "position": (
        pa.int64(),
        "place in its own log: an event's offset, else its `pos`",
    ),
    "offset": (
        pa.int64(),
        "the event's offset; for a verdict or a refusal that of the event it is about",
    ),
    "append_ms": (pa.int64(), "when the log took it in, ms since 1970; NULL for a verdict"),
    "run": (pa.string(), "the run: the key in the log"),
    "type": (pa.string(), "kind of event, or `verdict`; NULL when the bytes could not be read"),
    "agent": (pa.string(), "the agent who acts or is acted on; empty: the run as a whole"),
    "source": (pa.string(), "the publisher that numbered the event"),
    "seq": (pa.int64(), "the publisher's number within the run"),
    "at_ms": (pa.int64(), "event: the time it claims; verdict: the run's clock. ms since 1970"),
    "grade": (pa.string(), "`declared`, `observed` or `enforced`"),
    "refused": (pa.string(), "why the bytes are no event; for a verdict why its event was refused"),
    "decision": (pa.string(), "a verdict's decision: `allow`, `deny`, `transform`"),
    "call": (pa.string(), "id of the tool or model call"),
    "tool": (pa.string(), "name of the tool"),
    "model": (pa.string(), "name of the model"),
    "parent": (pa.string(), "parent of the agent that started"),
    "child": (pa.string(), "the child asked for"),
    "role": (pa.string(), "role of the run's lead or of the agent"),
    "lease": (pa.string(), "the lease the act was admitted with"),
    "retry_of": (pa.string(), "the call that this one repeats"),
    "task_key": (pa.string(), "what makes runs of the same task comparable"),
    "tenant": (pa.string(), "who the run is for"),
    "outcome": (pa.string(), "how the run or agent ended"),
    "error": (pa.string(), "what went wrong"),
    "input_tokens": (pa.int64(), "tokens read fresh"),
    "output_tokens": (pa.int64(), "tokens written"),
    "cache_read_tokens": (pa.int64(), "tokens read from a cache"),
    "cache_write_tokens": (pa.int64(), "tokens written to a cache"),
    "cost_microdollars": (pa.int64(), "cost of the model call"),
    "cost_known": (pa.bool_(), "false where no price was found"),
    "payload": (pa.string(), "the record as it was: one JSON object"),
    "raw": (pa.binary(), "the record as it was, where it is not UTF-8 text"),
    "chain": (pa.binary(), "on the last row of each segment: the running digest up to it"),
}
"""Every column of the table, its type, and what it holds."""

SCHEMA = pa.schema([(name, kind) for name, (kind, _) in COLUMNS.items()])
PARTITION_BY = ["log", "partition"]

_TEXTS = (
    "call tool model parent child role lease retry_of task_key tenant outcome error".split()
)  # fmt: skip
_TOKENS = "input_tokens output_tokens cache_read_tokens cache_write_tokens".split()
_ENVELOPE = {"agent": "", "source": "", "seq": 0, "at_ms": 0, "grade": "declared"}
_TYPED = ["type", *_ENVELOPE, "decision", *_TEXTS, *_TOKENS, "cost_microdollars", "cost_known"]


def _events_sql() -> str:
    """The query that types events; `p` is the payload, NULL where it could not be read."""
    fields = dict.fromkeys(("type", "run", "agent", "source", "grade", *_TEXTS), "VARCHAR")
    fields |= dict.fromkeys(("seq", "at_ms", *_TOKENS, "cost_microdollars"), "BIGINT")
    fields["cost_known"] = "BOOLEAN"
    shape = ",".join(f'"{name}":"{kind}"' for name, kind in fields.items())
    numbers = [*_TOKENS, "cost_microdollars"]
    parts = [
        "j.type as type",
        "j.run as run",
        *(f"case when ok then coalesce(j.{n}, {d!r}) end as {n}" for n, d in _ENVELOPE.items()),
        "null::varchar as decision",
        *(f"nullif(j.{name}, '') as {name}" for name in _TEXTS if name != "outcome"),
        "case when ends then coalesce(j.outcome, 'succeeded') end as outcome",
        *(f"case when bills then coalesce(j.{name}, 0) end as {name}" for name in numbers),
        "case when bills then coalesce(j.cost_known, true) end as cost_known",
        "keys",
    ]
    return f"""
        with parsed as (
            select from_json(p, '{{{shape}}}') as j, p is not null as ok,
                   len(json_keys(p)) as keys
            from batch),
        kinds as (
            select *, j.type in ('run_ended', 'agent_ended') as ends,
                   j.type = 'model_call_ended' as bills
            from parsed)
        select {", ".join(parts)} from kinds"""


def _verdicts_sql() -> str:
    """The query that types verdicts."""
    own = ("type", "agent", "at_ms", "decision")
    rest = [f"null as {name}" for name in _TYPED if name not in own]
    return f"""
        with parsed as (
            select from_json(p, '{{"run":"VARCHAR","agent":"VARCHAR","at_ms":"BIGINT",
                                   "decision":"VARCHAR","refusal":"VARCHAR"}}') as j,
                   p is not null as ok
            from batch)
        select case when ok then 'verdict' end as type, j.run as run,
               case when ok then coalesce(j.agent, '') end as agent,
               case when ok then coalesce(j.at_ms, 0) end as at_ms,
               j.decision as decision, nullif(j.refusal, '') as refusal, {", ".join(rest)}
        from parsed"""


_SQL = {"events": _events_sql(), "verdicts": _verdicts_sql()}


@cache
def _verdict_reader() -> Callable[[bytes], Any]:
    """The fastest way from bytes to a verdict: raises pydantic's ValidationError."""
    read: Callable[[bytes], Any] = TypeAdapter(Verdict).validator.validate_json
    return read


def _decode(log: LogName, values: Sequence[bytes]) -> tuple[dict[int, str], int]:
    """Every value read as the schema says, the only judge of what is an event.

    Gives the reason why not by index, and how many keys the readable events have in all.
    """
    read: Callable[[bytes], Any] = reader() if log == "events" else _verdict_reader()
    wrong: dict[int, str] = {}
    keys = 0
    for index, value in enumerate(values):
        try:
            record = read(value)
        except ValidationError as problem:
            wrong[index] = explain(problem)
            continue
        if log == "events":
            keys += len(record.__pydantic_fields_set__)
    if max(map(len, values)) > BYTES_MAX:
        for index, value in enumerate(values):
            if len(value) > BYTES_MAX:
                wrong[index] = f"{len(value)} bytes are too many; an event has at most {BYTES_MAX}"
    return wrong, keys


def _texts(values: Sequence[bytes], wrong: Collection[int]) -> tuple[pa.Array, pa.Array, pa.Array]:
    """The readable payloads (else NULL), all payloads that are text, and what is not text."""
    if not wrong:
        payload = pa.array(values, pa.binary()).cast(pa.string())
        return payload, payload, pa.nulls(len(values), pa.binary())
    readable = [None if index in wrong else value for index, value in enumerate(values)]
    texts: list[str | None] = []
    raws: list[bytes | None] = []
    for value in values:
        try:
            texts.append(value.decode())
            raws.append(None)
        except UnicodeDecodeError:
            texts.append(None)
            raws.append(value)
    return (
        pa.array(readable, pa.binary()).cast(pa.string()),
        pa.array(texts, pa.string()),
        pa.array(raws, pa.binary()),
    )


@cache
def _engine() -> duckdb.DuckDBPyConnection:
    """A DuckDB of our own that only types JSON; one thread, so that rows keep their order."""
    engine = duckdb.connect(":memory:", config={"threads": 1, "enable_external_access": False})
    engine.execute("set python_enable_replacements = false")
    return engine


def _type(log: LogName, readable: pa.Array) -> pa.Table:
    """The typed columns of the readable payloads, row by row. Raises duckdb.Error."""
    cursor = _engine().cursor()
    try:
        cursor.register("batch", pa.table({"p": readable}))
        return cursor.sql(_SQL[log]).to_arrow_table()
    finally:
        cursor.close()


def _type_slowly(log: LogName, readable: pa.Array) -> pa.Table:
    """The same from the decoded objects, one by one: where a key is said twice, the last counts."""
    read = reader() if log == "events" else _verdict_reader()
    kinds = {name: SCHEMA.field(name).type for name in ("run", *_TYPED)}
    if log == "verdicts":
        kinds["refusal"] = pa.string()
    columns: dict[str, list[Any]] = {name: [] for name in kinds}
    for text in readable.to_pylist():
        record = None if text is None else read(text)
        for name, column in columns.items():
            value = getattr(record, name, None)
            column.append(None if value == "" and name not in _ENVELOPE else value)
        if log == "verdicts" and record is not None:
            columns["type"][-1] = "verdict"
    return pa.table({name: pa.array(columns[name], kind) for name, kind in kinds.items()})


def _typed_exactly(log: LogName, readable: pa.Array, keys: int) -> pa.Table:
    """The typed columns of the readable payloads, which have so many keys as the judge hears."""
    try:
        table = _type(log, readable)
    except duckdb.Error:
        return _type_slowly(log, readable)  # Pydantic read what DuckDB cannot.
    if log == "events" and (pc.sum(table["keys"]).as_py() or 0) != keys:
        return _type_slowly(log, readable)
    return table


def typed(log: LogName, batch: Batch, partition: int = 0) -> pa.Table:
    """These rows of a log as a table of SCHEMA, in their order; `chain` is left NULL.

    Takes any bytes; what is no event comes back with the reason in `refused`.
    """
    if log == "refused":
        return _refused(batch, partition)
    values = batch.values
    wrong, keys = _decode(log, values)
    readable, payload, raw = _texts(values, wrong)
    table = _typed_exactly(log, readable, keys)
    runs = pa.array(batch.runs, pa.string())
    strays = pc.indices_nonzero(pc.fill_null(pc.not_equal(table["run"], runs), False)).to_pylist()
    if strays:
        said = table["run"].to_pylist()
        for index in strays:
            wrong[index] = (
                f"run: the record says {said[index]!r}, its key in the log is {batch.runs[index]!r}"
            )
        readable, payload, raw = _texts(values, wrong)
        table = _type_slowly(log, readable)
    count = len(values)
    refused = (
        pa.array([wrong.get(index) for index in range(count)], pa.string())
        if wrong
        else pa.nulls(count, pa.string())
    )
    if log == "verdicts":
        refused = pc.coalesce(refused, table["refusal"].combine_chunks())
    known = {name: table[name] for name in _TYPED}
    return _table(
        log, batch, partition, known | {"refused": refused, "payload": payload, "raw": raw}
    )


def _refused(batch: Batch, partition: int) -> pa.Table:
    """Rows of a refused log: nothing of them is typed but who sent them and what was wrong."""
    sources, reasons = batch.refusals
    # Whatever the bytes are, they stay bytes or text; nobody tries to read them again.
    payload, raw = _texts(batch.values, range(len(reasons)))[1:]
    known = {
        "source": pa.array(sources, pa.string()),
        "refused": pa.array(reasons, pa.string()),
        "payload": payload,
        "raw": raw,
    }
    return _table("refused", batch, partition, known)


def _table(log: LogName, batch: Batch, partition: int, known: dict[str, Any]) -> pa.Table:
    """A table of SCHEMA from the batch and the columns known of it; the others are NULL."""
    count = len(batch.values)
    known |= {
        "log": pa.repeat(log, count),
        "partition": pa.repeat(pa.scalar(partition, pa.int32()), count),
        "position": pa.array(batch.positions, pa.int64()),
        "offset": pa.array(batch.offsets, pa.int64()),
        "append_ms": pa.array(batch.append_ms, pa.int64()),
        "run": pa.array(batch.runs, pa.string()),
    }
    columns = [
        known[name].cast(kind) if name in known else pa.nulls(count, kind)
        for name, (kind, _) in COLUMNS.items()
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def digest(before: bytes, positions: Sequence[int], values: Sequence[bytes]) -> bytes:
    """The running digest after a segment of these values; `before` is empty for the first."""
    sha256 = hashlib.sha256
    return digest_of(before, positions, [sha256(value).digest() for value in values])


def digest_of(before: bytes, positions: Sequence[int], hashes: Sequence[bytes]) -> bytes:
    """SHA-256 over the digest before, the positions, and each payload's own SHA-256.

    Positions are 8 bytes each, least byte first. Payloads enter as their hashes, so that one
    can be erased and the chain still be proved.
    """
    whole = hashlib.sha256(before)
    whole.update(struct.pack(f"<{len(positions)}q", *positions))
    whole.update(b"".join(hashes))
    return whole.digest()
