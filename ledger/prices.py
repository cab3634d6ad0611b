"""What a model call cost, out of a price table that others keep up (`genai-prices`).

What a newcomer would get wrong
    A model that the table does not know has no cost here, which is not a cost of nothing: it is
    said once by a warning, and each call is recorded as of unknown cost.
    The table takes 0.2 s to load and loads when the first cost is asked for.
"""

from __future__ import annotations

import warnings
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from typing import Any

from ledger.errors import LedgerError

UNKNOWN_MAX = 1_000
"""Unknown models that are remembered as said."""
_unknown: set[tuple[str, str]] = set()


class UnknownPrice(UserWarning):
    """The price table does not know this model; its calls are recorded as of unknown cost."""


class NoPrices(LedgerError):
    """The price table cannot be loaded."""


@cache
def version() -> str:
    """Which table says so, as `prices` of an event; empty where there is no table."""
    table = _table()
    return f"genai-prices {table.__version__}" if table is not None else ""


def cost(
    model: str, *, input_tokens: int = 0, output_tokens: int = 0, cache_read_tokens: int = 0,
    cache_write_tokens: int = 0, provider: str = "",
) -> tuple[int | None, str]:  # fmt: skip
    """(microdollars, version of the table); the former None for a model it does not know.

    `input_tokens` excludes what was read from or written to a cache. `provider` may also stand
    before the model, as in `openai/gpt-5`. Half a microdollar is rounded up.
    """
    table = _table()
    if table is None:
        _say(model, provider, "genai-prices cannot be loaded")
        return None, ""
    usage = table.Usage(
        input_tokens=input_tokens + cache_read_tokens + cache_write_tokens,
        output_tokens=output_tokens,
        cache_read_tokens=cache_read_tokens,
        cache_write_tokens=cache_write_tokens,
    )
    for maker, name in _readings(model, provider):
        try:
            found = table.calc_price(usage, model_ref=name, provider_id=maker or None)
        except LookupError:
            continue
        dollars = Decimal(found.total_price)
        return int((dollars * 1_000_000).to_integral_value(ROUND_HALF_UP)), version()
    _say(model, provider, f"{version()} does not know it")
    return None, version()


def _readings(model: str, provider: str) -> list[tuple[str, str]]:
    maker, slash, name = model.partition("/")
    readings = [(provider, model)]
    if slash:
        readings += [(maker, name), ("", name)]
    return readings


@cache
def _table() -> Any:
    try:
        import genai_prices
    except ImportError:
        return None
    return genai_prices


def _say(model: str, provider: str, why: str) -> None:
    key = (model, provider)
    if key in _unknown or len(_unknown) >= UNKNOWN_MAX:
        return
    _unknown.add(key)
    warnings.warn(
        f"no price for model {model!r}: {why}; its calls are recorded with cost_known false. "
        "Give cost_microdollars to usage()",
        UnknownPrice,
        stacklevel=4,
    )
