"""Which sources of bad input are heard no more for a while, so that a flood of it fills nothing.

What a newcomer would get wrong
    A source that is muted is muted in the refused log only: its good records are judged, and
    the first of them ends it. What is bad is still counted, and still changes nothing.
    Time is the log's. A judge that takes over begins anew: it may copy a few more.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pydantic_core import from_json

from ledger.settings import MuteLimits
from ledger.wire import BYTES_MAX

SHOWN_MAX = 140


class Heed(NamedTuple):
    """Whether a refused record is copied, and what is to be said of its source (empty: nothing)."""

    copied: bool
    finding: str = ""


class _Bad:
    __slots__ = ("count", "uncopied", "until_ms")

    def __init__(self) -> None:
        self.count = self.until_ms = self.uncopied = 0


class Muting:
    """The sources that were refused lately: `bad`, of which there is none, as a rule."""

    def __init__(self, limits: MuteLimits) -> None:
        self._limits = limits
        self.bad: dict[str, _Bad] = {}
        self.muted = 0

    def refused(self, source: str, at_ms: int) -> Heed:
        """Note a refused record of `source` at `at_ms` of the log's clock."""
        bad = self.bad.get(source)
        if bad is None:
            if len(self.bad) >= self._limits.sources_max:
                del self.bad[next(iter(self.bad))]
            bad = self.bad[source] = _Bad()
        if bad.until_ms and at_ms < bad.until_ms:
            bad.uncopied += 1
            self.muted += 1
            return Heed(False)
        if bad.until_ms:
            again = self._again(source, bad)
            bad.count, bad.until_ms, bad.uncopied = 1, 0, 0
            return Heed(True, again)
        bad.count += 1
        if bad.count < self._limits.in_row_max:
            return Heed(True)
        muted_ms = self._limits.muted_ms
        bad.until_ms = at_ms + muted_ms
        return Heed(
            True,
            f"source_muted: {bad.count} records of {source[:SHOWN_MAX]!r} were refused in a row; "
            f"for {muted_ms / 1000:g} s, or until a good one, more are counted, not copied",
        )

    def good(self, *sources: str) -> str:
        """Note a good record of these; what is to be said, if one of them was muted."""
        said = ""
        for source in sources:
            bad = self.bad.pop(source, None)
            if bad is not None and bad.until_ms:
                said = self._again(source, bad)
        return said

    def _again(self, source: str, bad: _Bad) -> str:
        return (
            f"source_heard: {source[:SHOWN_MAX]!r} is muted no more; "
            f"{bad.uncopied} refused records were not copied"
        )


def source_of(value: bytes | None, key: str) -> str:
    """Who sent bytes that are no event: what they say, as far as they can be read, else the key."""
    if value and len(value) <= BYTES_MAX and value.startswith(b"{"):
        try:
            found: Any = from_json(value)
        except ValueError:
            found = None
        if isinstance(found, dict) and isinstance(found.get("source"), str) and found["source"]:
            return str(found["source"])[:SHOWN_MAX]
    return f"key {key[:SHOWN_MAX]}"
