"""Fingerprints: what stands for a text in an event when the text itself is not kept.

What a newcomer would get wrong
    0 is no fingerprint: nothing was there, or nothing can be said. Two zeros are not equal.
    `exact` equal: the same bytes, but for one pair in 2**53.
    `near` close: the same numbers, and nearly the same words in nearly the same order. It says
    nothing about meaning: in a long text "not" is one word among hundreds.
    Fingerprints of different FINGERPRINT_VERSION must not be compared.
"""

from __future__ import annotations

import json
import re
from hashlib import blake2b
from unicodedata import normalize

FINGERPRINT_VERSION = 1
"""Raised whenever any function here gives another number for the same input."""

NEAR_BITS = 52
NEAR_CHARS_MAX = 16_384
"""Longer texts get no near fingerprint: it would cost milliseconds, and a shared opening would
make different texts look equal."""

_SHINGLE = 3
_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"\w*\d\w*")
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def exact(text: str | bytes) -> int:
    """53 bits of BLAKE2b over the bytes (a str as UTF-8): an integer that JSON holds exactly."""
    if isinstance(text, str):
        # JSON may carry half a surrogate pair, which plain UTF-8 refuses.
        text = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big") >> 11


def exact_json(value: object) -> int:
    """`exact` over canonical JSON: keys sorted, no spaces; 1 and 1.0 differ, as their texts do.

    Raises TypeError for what JSON cannot say, ValueError for what contains itself.
    """
    return exact(_canonical(value))


def near(text: str) -> int:
    """52 bits of SimHash over shingles of three words: near texts differ in few bits.

    Case, spacing and punctuation do not count. Words with digits must be equal: "write chapter 3"
    and "write chapter 4" are two tasks, however long the rest that they share. 0 below three
    words and above NEAR_CHARS_MAX characters.
    Source: Charikar 2002, "Similarity estimation techniques from rounding algorithms".
    """
    if len(text) > NEAR_CHARS_MAX:
        return 0
    words = _WORD.findall((text if text.isascii() else normalize("NFKC", text)).casefold())
    shingles = len(words) - _SHINGLE + 1
    if shingles < 1:
        return 0
    # The shingles' bits side by side: one bit of them all is one slice, which `count` sums fast.
    bits = "".join([f"{_short(words[i : i + _SHINGLE]):052b}" for i in range(shingles)])
    ones = [bits[bit::NEAR_BITS].count("1") for bit in range(NEAR_BITS)]
    majority = int("".join(["1" if count * 2 > shingles else "0" for count in ones]), 2)
    numbers = [word for word in words if _NUMBER.fullmatch(word)]
    return majority ^ _short(numbers) if numbers else majority


def _short(words: list[str]) -> int:
    return exact(" ".join(words)) >> 1


def bits_apart(one: int, other: int) -> int:
    """In how many bits two near fingerprints differ: 0 to 52, about 26 for unrelated texts."""
    return (one ^ other).bit_count()
