"""Events and verdicts as bytes: one JSON object each, and the JSON Schema that says so."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, Union

from pydantic import Field, TypeAdapter, ValidationError

from ledger.core.events import EVENT_TYPES, Event
from ledger.core.verdicts import Verdict
from ledger.errors import LedgerError

BYTES_MAX = 1_048_576
"""A larger value is refused unread."""
SHOWN_MAX = 80
"""Characters of a wrong value that a person is shown."""

_HEADS: dict[type[Event], bytes] = {
    cls: b'{"type":"%s",' % str(cls.model_fields["type"].default).encode() for cls in EVENT_TYPES
}


class UnreadableEvent(LedgerError):
    """Bytes that are no event; `reason` names the field, shows the value and says what is wrong."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@cache
def _adapter() -> TypeAdapter[Event]:
    """The reader of any event; built once, when first needed."""
    union = Annotated[Union[EVENT_TYPES], Field(discriminator="type")]  # type: ignore[valid-type]  # noqa: UP007
    return TypeAdapter(union)


@cache
def reader() -> Any:
    """The fastest way from bytes to an event: raises pydantic's ValidationError."""
    return _adapter().validator.validate_json


def decode(value: bytes) -> Event:
    """The event that these bytes are. Raises UnreadableEvent, whose reason a person can act on."""
    if len(value) > BYTES_MAX:
        raise UnreadableEvent(f"{len(value)} bytes are too many; an event has at most {BYTES_MAX}")
    try:
        event: Event = reader()(value)
    except ValidationError as problem:
        raise UnreadableEvent(explain(problem)) from None
    return event


def encode(event: Event) -> bytes:
    """One JSON object, UTF-8, `type` first, fields that have their default left out."""
    body = event.__pydantic_serializer__.to_json(event, exclude_defaults=True)
    return _HEADS[type(event)] + body[1:]


@cache
def _verdicts() -> TypeAdapter[Verdict]:
    return TypeAdapter(Verdict)


@cache
def _verdict_writer() -> Callable[..., bytes]:
    """TypeAdapter.dump_json without its own third of the time."""
    return _verdicts().serializer.to_json


def encode_verdict(verdict: Verdict) -> bytes:
    """One JSON object, UTF-8, defaults left out: equal verdicts, equal bytes."""
    return _verdict_writer()(verdict, exclude_defaults=True)


def decode_verdict(value: bytes) -> Verdict:
    """The verdict that these bytes are. Raises UnreadableEvent."""
    try:
        return _verdicts().validate_json(value)
    except ValidationError as problem:
        raise UnreadableEvent(explain(problem)) from None


def explain(problem: ValidationError) -> str:
    """Every mistake in one line: field, what is wrong, the value shown short."""
    parts = []
    for error in problem.errors(include_url=False)[:5]:
        where = ".".join(str(part) for part in error["loc"]) or "the value"
        parts.append(f"{where}: {error['msg']}, got {_short(error['input'])}")
    return "; ".join(parts)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 3] + "..."


def event_schema() -> dict[str, Any]:
    """JSON Schema of one event on the wire (draft 2020-12)."""
    schema = _adapter().json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Event", **schema}
