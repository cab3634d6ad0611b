"""The interpreter's switch interval is the whole process's: it comes back as it was."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from ledger.log.haste import in_haste


@pytest.fixture(autouse=True)
def usual() -> Iterator[float]:
    before = sys.getswitchinterval()
    yield before
    sys.setswitchinterval(before)


def test_it_is_short_inside_and_as_before_after(usual: float) -> None:
    with in_haste(), in_haste():
        assert sys.getswitchinterval() < usual

    assert sys.getswitchinterval() == pytest.approx(usual)


def test_it_comes_back_after_an_error(usual: float) -> None:
    with pytest.raises(ValueError, match="x"), in_haste():
        raise ValueError("x")

    assert sys.getswitchinterval() == pytest.approx(usual)


def test_the_last_of_many_threads_puts_it_back(usual: float) -> None:
    """Two ledgers of one process write at once; the first to end must not leave it short."""
    inside, leave = threading.Barrier(3), [threading.Event(), threading.Event()]

    def work(number: int) -> None:
        with in_haste():
            inside.wait(120)
            leave[number].wait(120)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    inside.wait(120)
    for gate, thread in zip(leave, threads, strict=True):
        assert sys.getswitchinterval() < usual
        gate.set()
        thread.join(120)

    assert sys.getswitchinterval() == pytest.approx(usual)


def test_what_somebody_else_set_meanwhile_is_left_alone() -> None:
    with in_haste():
        sys.setswitchinterval(0.02)

    assert sys.getswitchinterval() == pytest.approx(0.02)
