"""What every importer hands over: one foreign run as events, or the reason why not.

What a newcomer would get wrong
    An importer says what the source says, and nothing else: no tokens stays no tokens, an
    agent that is not named is not there. What fits no event is counted in `skipped`, by name.
    Run ids and the order of events follow from the content alone, so that importing a file
    twice, or a copy of it, makes the same events again, which the ledger has already heard.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ledger.core.events import AgentStarted, Event
from ledger.core.fingerprint import exact, exact_json, near
from ledger.errors import LedgerError

TEXT_MAX = 2048
LABEL_MAX = 512
NAME_MAX = 128
_MILLIONS_MAX = 9_000_000_000


class WrongShape(LedgerError):
    """A document is not what its format says; `place` is where in it, `reason` what is wrong."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(place, reason)
        self.place, self.reason = place, reason

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}" if self.place else self.reason


@dataclass(slots=True)
class ImportedRun:
    """One trace, history or trial: its events in order, and what fits none, by name."""

    run: str
    origin: str
    place: str = ""
    events: list[Event] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    @property
    def agents(self) -> int:
        """How many agents the run has, its lead included."""
        return 1 + sum(isinstance(event, AgentStarted) for event in self.events)


@dataclass(slots=True, frozen=True)
class RefusedFile:
    """A file, or a part of it (`place`), that could not be read, and why."""

    origin: str
    place: str
    reason: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.origin, self.place, self.reason) if part)


@dataclass(slots=True, frozen=True)
class SkippedFile:
    """A file, or a run in it (`run`), that was left out on purpose, and why."""

    origin: str
    reason: str
    run: str = ""


Result = ImportedRun | RefusedFile | SkippedFile


class History:
    """Writes the events of one run: the same envelope on each, numbered from 1."""

    def __init__(self, source: str, run: str, origin: str, place: str = "") -> None:
        self.imported = ImportedRun(run, origin, place)
        self._source = source

    def add(self, event: Callable[..., Event], agent: str, at_ms: int, **fields: Any) -> None:
        """Append one event of class `event`; `fields` are its own, already cut to their limits."""
        events = self.imported.events
        events.append(
            event(
                run=self.imported.run,
                agent=agent,
                source=self._source,
                seq=len(events) + 1,
                at_ms=at_ms,
                grade="observed",
                **fields,
            )
        )

    def skip(self, what: str) -> None:
        """Count something that fits no event."""
        self.imported.skipped[cut(what, NAME_MAX)] += 1


def each(
    document: object, read: Callable[[object, str, str], ImportedRun], origin: str
) -> Iterator[ImportedRun | RefusedFile]:
    """Read a document, or each of a list of them: `read(document, origin, place)`.

    What has the wrong shape is refused, and the rest goes on.
    """
    items = enumerate(document) if isinstance(document, list) else [(None, document)]
    for index, item in items:
        place = "$" if index is None else at("$", index)
        try:
            yield read(item, origin, place)
        except WrongShape as problem:
            yield RefusedFile(origin, problem.place, problem.reason)
    if document == []:
        yield RefusedFile(origin, "$", "an empty list")


class Payload(NamedTuple):
    """What is kept of arguments, results, prompts: fingerprint, near fingerprint, size."""

    fp: int = 0
    near: int = 0
    bytes: int = 0


def payload(value: object, *, nearly: bool = False) -> Payload:
    """Weigh a value: text by its bytes, JSON by its canonical form. None weighs nothing."""
    if value is None:
        return Payload()
    text = value if isinstance(value, str) else compact(value)
    fp = exact(text) if isinstance(value, str) else exact_json(value)
    size = len(text.encode("utf-8", "surrogatepass"))
    return Payload(fp, near(text) if nearly else 0, size)


def task_fields(task: str) -> dict[str, Any]:
    """The fields of an event that say what its agent is to do."""
    if not task:
        return {}
    return {"task": cut(task), "task_fp": exact(task), "task_near": near(task)}


def compact(value: object) -> str:
    """JSON without spaces, as short as it gets."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def unpacked(value: object) -> Any:
    """A value that may have been put into JSON text, even twice; other text stays as it is."""
    for _ in range(3):
        if not isinstance(value, str) or value[:1] not in '{["':
            break
        try:
            value = parse(value)
        except (ValueError, RecursionError):
            break
    return value


def parse(text: str | bytes) -> Any:
    """JSON as a value; NaN and Infinity, which are no JSON and say nothing, as None.

    Raises ValueError for what is no JSON, RecursionError for what is nested too deeply.
    """
    return json.loads(text, parse_constant=lambda constant: None)


def cut(value: object, limit: int = TEXT_MAX) -> str:
    """Text of at most `limit` characters that every reader of JSON accepts; "" for other values."""
    if not isinstance(value, str):
        return ""
    return value[:limit].encode("utf-8", "replace").decode()


def identifier(value: str) -> str:
    """Text as an id of 1 to 128 characters; what is cut off is replaced by its fingerprint."""
    if len(value) > NAME_MAX:
        value = f"{value[: NAME_MAX - 15]}~{exact(value):014x}"
    return cut(value, NAME_MAX) or "unnamed"


def labels(values: dict[str, object]) -> dict[str, str]:
    """Labels of what is there: texts, numbers and truths; nothing for None and for the rest."""
    said = {
        name: cut(value if isinstance(value, str) else compact(value), LABEL_MAX)
        for name, value in values.items()
        if isinstance(value, (str, bool, int, float))
    }
    return {name: text for name, text in said.items() if text}


def millionths(value: object) -> int | None:
    """A score or an amount of dollars as an integer of millionths; None when it is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    # Written so that NaN is refused too, and no integer is too large to compare.
    if not -_MILLIONS_MAX < value < _MILLIONS_MAX:
        return None
    return round(value * 1_000_000)


def count(value: object) -> int:
    """A number of tokens: whole, not negative; 0 for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return 0
    return int(value) if 0 <= value < 2**53 else 0


def content_text(content: object) -> str:
    """The text of a chat message's content: a string, or parts of which some have text."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = [
        part.get("text", part.get("content")) if isinstance(part, dict) else part
        for part in content
    ]
    return "\n".join(text for text in texts if isinstance(text, str))


def as_list(value: object) -> list[Any]:
    """The value where it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def at(place: str, key: str | int) -> str:
    """The place one step further in: `$`, `trace` give `$.trace`; `$`, 3 give `$[3]`."""
    return f"{place}[{key}]" if isinstance(key, int) else f"{place}.{key}"


def shape(value: object) -> str:
    """What a value is, for a person: `an object with keys a, b`, `a list of 3`, `the text "x"`."""
    if isinstance(value, dict):
        keys = ", ".join(cut(key, 20) for key in list(value)[:6])
        return f"an object with keys {keys}" if keys else "an empty object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, str):
        return f'the text "{cut(value, 40)}"'
    return cut(json.dumps(value), 40)
