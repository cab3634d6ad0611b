"""Fingerprints: what two equal or unequal numbers let us say about two texts."""

import json
import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.core.fingerprint import (
    FINGERPRINT_VERSION,
    NEAR_CHARS_MAX,
    bits_apart,
    exact,
    exact_json,
    near,
)
from ledger.core.shapes import SAFE_INT_MAX

TASK = (
    "Read the quarterly report of the sales department, list every customer that left, "
    "and write a summary of the reasons they gave, with a quotation for each."
)
PINNED = (7622952612375535, 4320000716899316, 1023077572440463)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)


def words(rng: random.Random, count: int) -> list[str]:
    return ["".join(rng.choices(string.ascii_lowercase, k=rng.randint(2, 9))) for _ in range(count)]


def test_numbers_are_pinned_to_the_version() -> None:
    """Logs hold these numbers for years; another answer needs another FINGERPRINT_VERSION."""
    pinned = (exact("a task"), exact_json({"b": [1, None], "a": "ü"}), near(TASK))

    assert (FINGERPRINT_VERSION, pinned) == (1, PINNED)


@given(st.text())
def test_every_reader_of_json_holds_them_exactly(text: str) -> None:
    """A fingerprint that JavaScript rounds would make unequal texts equal."""
    for value in (exact(text), exact_json(text), near(text)):
        assert 0 <= value <= SAFE_INT_MAX


def test_text_is_its_bytes() -> None:
    """A client hashes what it has, text or bytes, and both must meet."""
    assert exact("über") == exact("über".encode())


def test_half_a_surrogate_pair_has_a_fingerprint() -> None:
    """JSON may carry one, and an agent must not crash on it."""
    assert exact("\ud800") != exact("\ud801")
    assert exact_json({"x": "\ud800"})
    assert near("one \ud800 two three four")


@given(JSON)
def test_canonical_json_is_one_spelling(value: object) -> None:
    """Frameworks reorder keys and add spaces; the arguments are the same."""
    respelled = json.loads(json.dumps(value, indent=3))
    if isinstance(respelled, dict):
        respelled = dict(reversed(respelled.items()))

    assert exact_json(respelled) == exact_json(value)


def test_different_values_have_different_fingerprints() -> None:
    """Ten thousand calls, and each must stay itself."""
    assert len({exact_json({"page": n}) for n in range(10_000)}) == 10_000


@pytest.mark.parametrize("value", [object(), {"a": {1, 2}}, {1: 0, "1": 0}])
def test_what_json_cannot_say_is_refused(value: object) -> None:
    """A fingerprint of a memory address would never be equal again, silently."""
    with pytest.raises(TypeError):
        exact_json(value)


@pytest.mark.parametrize(
    "text", [TASK.upper(), TASK.replace(" ", "\n  "), TASK.replace(",", " —"), f"  {TASK}!!"]
)
def test_case_spacing_and_punctuation_do_not_count(text: str) -> None:
    """Two agents rarely get a task letter for letter."""
    assert near(text) == near(TASK)


def test_composed_and_decomposed_letters_are_equal() -> None:
    """The same name comes in two spellings of Unicode, by the keyboard it was typed on."""
    assert near("caf\u00e9 cr\u00e8me br\u00fbl\u00e9e") == near(
        "cafe\u0301 cre\u0300me bru\u0302le\u0301e"
    )


def test_one_word_more_stays_near() -> None:
    """A "please" must not make a task new; measured 5 bits, of 26 between unrelated texts."""
    assert bits_apart(near(TASK), near(TASK + " Please.")) <= 5


def test_unrelated_texts_are_far() -> None:
    """Of 4,950 pairs of random texts none may look alike; half of 52 bits is the expectation."""
    rng = random.Random(7)
    prints = [near(" ".join(words(rng, 30))) for _ in range(100)]
    apart = [bits_apart(a, b) for i, a in enumerate(prints) for b in prints[:i]]

    assert min(apart) > 3
    assert 25 < sum(apart) / len(apart) < 27


def test_other_numbers_are_other_tasks() -> None:
    """A fan-out over chapters shares all words but one; calling it duplicated would stop it."""
    shared = " ".join(words(random.Random(3), 200))
    prints = [near(f"{shared} Now write chapter {n}.") for n in range(30)]
    apart = [bits_apart(a, b) for i, a in enumerate(prints) for b in prints[:i]]

    assert min(apart) > 3


@pytest.mark.parametrize("text", ["", "stop", "go on", "-- !! --", "x " * NEAR_CHARS_MAX])
def test_too_short_or_too_long_says_nothing(text: str) -> None:
    """Two words are equal by chance, and a megabyte must not stall the agent."""
    assert near(text) == 0
