"""What callers hand over, checked and cut at the call, fingerprinted later by the flushing thread.

What a newcomer would get wrong
    Ids and names are checked (BadValue at the call); texts are cut to what an event holds.
    A value that its owner may change before the flushing thread looks at it is written down
    now (`frozen`); what cannot change is handed over as it is, which costs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ledger.client.answers import BadValue
from ledger.core import fingerprint
from ledger.core.shapes import SAFE_INT_MAX, Units

ID_MAX = 128
TEXT_MAX = 2048
LABEL_MAX = 512
IDS_MAX = 64
LABELS_MAX = 32
CUT_MARK = " […]"
"""Ends a text that was cut, so that a reader sees it."""
HELD_CHARS_MAX = 65_536
"""Longer values are fingerprinted at the call: the queue must not hold what they weigh."""

FIELDS_MAX = 16
"""A dictionary of more is written down at once; one of fewer plain values is copied."""

_PLAIN = frozenset({str, int, float, bool, type(None)})
_canonical = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=repr
).encode


def an_id(what: str, value: object) -> str:
    """The id itself. Raises BadValue unless it is a text of 1 to 128 characters."""
    if type(value) is str and 0 < len(value) <= ID_MAX and value.isascii():
        return value
    return _odd_id(what, value, least=1)


def a_name(what: str, value: object) -> str:
    """As `an_id`, or empty."""
    if type(value) is str and len(value) <= ID_MAX and value.isascii():
        return value
    return _odd_id(what, value, least=0)


def _odd_id(what: str, value: object, least: int) -> str:
    rule = f"it must be a text of {least} to {ID_MAX} characters"
    if not isinstance(value, str) or not least <= len(value) <= ID_MAX:
        raise BadValue(what, value, rule)
    if clean(value) != value:
        raise BadValue(what, value, "it must be text that UTF-8 can hold")
    return str.__str__(value)  # The text of a subclass, an enum's for instance.


def names(what: str, values: Iterable[str]) -> tuple[str, ...]:
    """Up to 64 ids as a tuple. Raises BadValue."""
    found = tuple(values)
    if isinstance(values, str) or len(found) > IDS_MAX:
        raise BadValue(what, values, "it must be a list of at most 64 ids")
    return tuple(an_id(what, value) for value in found)


def labels(what: str, values: Mapping[str, Any]) -> dict[str, str]:
    """Up to 32 short texts by name; numbers are written as texts. Raises BadValue."""
    if len(values) > LABELS_MAX:
        raise BadValue(what, values, "it must have at most 32 entries")
    return {a_name(what, key): text(what, _said(value), LABEL_MAX) for key, value in values.items()}


def _said(value: Any) -> Any:
    """Numbers, which settings of models are, as texts."""
    return str(value) if isinstance(value, int | float) else value


def budget_of(value: Any) -> Units | None:
    """The units themselves, or None. Raises BadValue."""
    if value is None or isinstance(value, Units):
        return value
    raise BadValue("budget", value, "it must be ledger.Units(...)")


def one_of(what: str, value: Any, allowed: tuple[Any, ...]) -> Any:
    """The value, if it is one of these. Raises BadValue."""
    if value in allowed:
        return value
    raise BadValue(what, value, f"it must be one of {', '.join(map(repr, allowed))}")


def count(what: str, value: int) -> int:
    """The number itself. Raises BadValue unless it is a whole number from 0 to 2**53 - 1."""
    if type(value) is int and 0 <= value <= SAFE_INT_MAX:
        return value
    raise BadValue(what, value, "it must be a whole number from 0 to 2**53 - 1")


def whole(what: str, value: int) -> int:
    """The number itself. Raises BadValue unless it is a whole number within 2**53."""
    if type(value) is int and abs(value) <= SAFE_INT_MAX:
        return value
    raise BadValue(what, value, "it must be a whole number between -2**53 and 2**53")


def text(what: str, value: str, most: int = TEXT_MAX) -> str:
    """The text, cut to `most` characters, what UTF-8 cannot hold replaced. Raises BadValue."""
    if type(value) is str and len(value) <= most and value.isascii():
        return value
    if not isinstance(value, str):
        raise BadValue(what, value, "it must be a text")
    if len(value) > most:
        value = value[: most - len(CUT_MARK)] + CUT_MARK
    return clean(value)


def clean(value: str) -> str:
    """The text without halves of surrogate pairs, which no UTF-8 file can hold."""
    return value.encode("utf-8", "replace").decode() if not value.isascii() else value


def failure(problem: BaseException) -> str:
    """An exception as the error text of an event."""
    try:
        said = str(problem)
    except Exception:  # Somebody's __str__ fails; its exception is still worth a record.
        said = "(no message)"
    name = type(problem).__name__
    return text("error", f"{name}: {said}" if said else name)


# --- fingerprints ------------------------------------------------------------------------------


class Print:
    """A value reduced to what an event keeps: fingerprint, size, and the text if captured."""

    __slots__ = ("bytes", "cut", "exact", "near", "text")

    def __init__(self, exact: int, near: int, size: int, kept: str | None, cut: bool) -> None:
        self.exact, self.near, self.bytes = exact, near, size
        self.text, self.cut = kept, cut


NOTHING = Print(0, 0, 0, None, False)


def frozen(value: Any, capture_bytes: int) -> Any:
    """The value in a form that nobody can change: itself, its JSON text, or a Print."""
    kind = type(value)
    if kind is str or kind is bytes:
        return value if len(value) <= HELD_CHARS_MAX else printed(value, capture_bytes)
    if kind in _PLAIN:
        return value
    if kind is dict and len(value) <= FIELDS_MAX:
        for one in value.values():
            if type(one) not in _PLAIN or (
                type(one) is str and len(one) > HELD_CHARS_MAX // FIELDS_MAX
            ):
                break
        else:
            return dict(value)
    written = canonical(value)
    return (
        _Json(written) if len(written) <= HELD_CHARS_MAX else printed(_Json(written), capture_bytes)
    )


class _Json(str):
    """Text that is JSON already."""

    __slots__ = ()


def canonical(value: Any) -> str:
    """One text for equal values: sorted JSON, and `repr` for what JSON cannot say."""
    kind = type(value)
    if kind is str or kind is _Json:
        return value  # type: ignore[no-any-return]
    try:
        return _canonical(value)
    except Exception:
        pass  # Keys of mixed types, a value that contains itself, a `__repr__` that fails.
    try:
        return repr(value)
    except Exception:  # Somebody's __repr__ fails; equal to nothing, then.
        return f"<{kind.__name__} {id(value)}>"


def printed(value: Any, capture_bytes: int, *, prefix: str = "") -> Print:
    """The Print of a frozen value; `prefix` (a tool's name) is part of its exact fingerprint.

    `capture_bytes` 0 keeps no text; a longer text is cut to its fingerprint and says so.
    """
    if type(value) is Print:
        return value
    if value is None:
        return NOTHING
    raw = value if type(value) is bytes else canonical(value).encode("utf-8", "replace")
    whole = prefix.encode("utf-8", "replace") + b"\0" + raw if prefix else raw
    kept = None
    if capture_bytes and len(raw) <= capture_bytes:
        kept = raw.decode("utf-8", "replace")
    return Print(fingerprint.exact(whole), 0, len(raw), kept, bool(capture_bytes) and kept is None)
