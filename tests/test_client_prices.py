"""What a call cost: from the caller, from a table with its version, or said to be unknown."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

import ledger
from ledger import prices
from ledger.core import events as e
from tests.clients import connected, judged, of_type


@pytest.fixture
def led(tmp_path: Path) -> Iterator[ledger.Ledger]:
    with connected(tmp_path) as opened:
        yield opened


@pytest.fixture(autouse=True)
def nothing_said() -> Iterator[None]:
    """A warning is given once; each test hears it anew."""
    prices._unknown.clear()
    yield
    prices._unknown.clear()


def test_the_four_kinds_of_tokens_are_priced_apart() -> None:
    """Cache reads are most tokens of a fleet, at a tenth of the price."""
    fresh, _ = prices.cost("gpt-4o", input_tokens=1_000_000)
    cached, _ = prices.cost("gpt-4o", cache_read_tokens=1_000_000)
    both, _ = prices.cost("gpt-4o", input_tokens=1_000_000, cache_read_tokens=1_000_000)

    assert fresh is not None
    assert cached is not None
    assert 0 < cached < fresh
    assert both == fresh + cached


def test_the_table_is_named_with_its_version() -> None:
    """Prices change; what a cost meant can be told years later."""
    assert prices.version().startswith("genai-prices 0.")


@pytest.mark.parametrize("name", ["gpt-4o", "openai/gpt-4o"])
def test_a_model_may_be_named_with_its_provider(name: str) -> None:
    assert prices.cost(name, output_tokens=1_000_000) == prices.cost(
        "gpt-4o", output_tokens=1_000_000, provider="openai"
    )


def test_an_unknown_model_is_said_once_and_never_free() -> None:
    with pytest.warns(prices.UnknownPrice, match="no price for model 'my-own'"):
        assert prices.cost("my-own", output_tokens=5)[0] is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert prices.cost("my-own", output_tokens=5)[0] is None


def test_a_cost_by_the_table_is_recorded_with_it(led: ledger.Ledger) -> None:
    with led.run("r") as run, run.model_call("gpt-4o") as call:
        call.usage(input_tokens=1_000, output_tokens=1_000)
    judged(led)
    ended = of_type(led.log, e.ModelCallEnded)[0]

    assert ended.cost_known
    assert ended.prices == prices.version()
    assert (
        ended.cost_microdollars == prices.cost("gpt-4o", input_tokens=1_000, output_tokens=1_000)[0]
    )


def test_a_cost_by_the_caller_is_his(led: ledger.Ledger) -> None:
    with led.run("r") as run, run.model_call("my-own") as call:
        call.usage(output_tokens=5, cost_microdollars=3)
    judged(led)
    ended = of_type(led.log, e.ModelCallEnded)[0]

    assert (ended.cost_microdollars, ended.cost_known, ended.prices) == (3, True, "")


def test_an_unknown_cost_is_recorded_as_unknown(led: ledger.Ledger) -> None:
    with led.run("r") as run:
        with run.model_call("my-own") as call, pytest.warns(prices.UnknownPrice):
            call.usage(output_tokens=5)
        with run.model_call("gpt-4o"):
            pass  # Nobody said what it took.
    judged(led)

    assert [(c.cost_known, c.output_tokens) for c in of_type(led.log, e.ModelCallEnded)] == [
        (False, 5), (False, 0),
    ]  # fmt: skip


@pytest.mark.parametrize("value", [-1, 1.5, "7", 2**53, True])
def test_a_wrong_count_is_refused_at_the_call(led: ledger.Ledger, value: object) -> None:
    with led.run("r") as run, run.model_call("m") as call:  # noqa: SIM117
        with pytest.raises(ledger.BadValue, match="output_tokens is"):
            call.usage(output_tokens=value)  # type: ignore[arg-type]
