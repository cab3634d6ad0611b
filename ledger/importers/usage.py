"""Tokens and cost of a model call, as a Langfuse observation states them."""

from __future__ import annotations

from typing import Any, NamedTuple

from ledger.importers.imported import count, millionths


class Usage(NamedTuple):
    """Tokens of a model call; `input` without what a cache gave or took."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    unsplit: int = 0

    @property
    def any(self) -> bool:
        """Whether any tokens are stated."""
        return any(self)


_CACHE_READ = ("input_cache_read", "cache_read_input_tokens", "prompt_details.cache_read",
               "input_cached_tokens", "prompt_tokens_details.cached_tokens")  # fmt: skip
_CACHE_WRITE = ("input_cache_creation", "cache_creation_input_tokens", "input_cache_write",
                "prompt_details.cache_write")  # fmt: skip
_REASONING = ("output_reasoning", "output_reasoning_tokens")


def usage(raw: dict[str, Any]) -> Usage:
    """The tokens that an observation states.

    Some frameworks count cached and reasoning tokens inside `input` and `output`, some beside
    them: the total tells which. `unsplit` is what only the total says, in neither direction.
    """
    details = raw.get("usageDetails") or raw.get("usage")
    if not isinstance(details, dict):
        details = {}
    said = {key: count(value) for key, value in details.items()}
    for key, part in details.items():
        if isinstance(part, dict):
            said.update((f"{key}.{name}", count(value)) for name, value in part.items())
    given = said.get("input", said.get("prompt_tokens", said.get("input_tokens", 0)))
    made = said.get("output", said.get("completion_tokens", said.get("output_tokens", 0)))
    total = said.get("total", said.get("total_tokens", 0))
    read = max((said.get(key, 0) for key in _CACHE_READ), default=0)
    write = max((said.get(key, 0) for key in _CACHE_WRITE), default=0)
    thought = max((said.get(key, 0) for key in _REASONING), default=0)
    beside = total - given - made
    inside = beside < read + write if total else any("details" in key for key in said)
    if inside:
        given = max(0, given - read - write)
    beside = max(0, total - given - made - read - write)
    if beside >= thought:
        made, beside = made + thought, beside - thought
    return Usage(given, made, read, write, beside)


def cost_microdollars(raw: dict[str, Any]) -> int | None:
    """The cost that an observation states; None where Langfuse knew no price."""
    details = raw.get("costDetails")
    stated = [details.get("total")] if isinstance(details, dict) else []
    # A total of 0 without details is Langfuse's way to say that it does not know.
    stated += [raw.get(key) or None for key in ("totalCost", "calculatedTotalCost")]
    for value in stated:
        dollars = millionths(value)
        if dollars is not None and dollars >= 0:
            return dollars
    return None
