"""The order of what happened at equal times."""

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from ledger.importers.timeline import Mark, Timeline


def test_at_equal_times_ends_come_first_and_the_inner_before_the_outer() -> None:
    """What follows in the same millisecond follows what was over, and brackets stay brackets."""
    timeline, told = Timeline(), []
    for depth, name in ((0, "outer"), (1, "inner")):
        timeline.start(5, depth, lambda _, name=name: told.append(f"{name} starts"))  # type: ignore[misc]
        timeline.end(5, depth, lambda _, name=name: told.append(f"{name} ends"))  # type: ignore[misc]
    last_ms = timeline.play(0)

    assert last_ms == 5
    assert told == ["inner ends", "outer ends", "outer starts", "inner starts"]


@given(
    times=st.lists(st.integers(0, 5), max_size=12),
    waits=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=20),
)
def test_everything_is_written_once_after_what_it_waits_for(
    times: list[int], waits: list[tuple[int, int]]
) -> None:
    """Whatever the clocks said, the fold must never see an end before its start."""
    timeline, told, at = Timeline(), [], []

    def write(number: int, at_ms: int) -> None:
        told.append(number)
        at.append(at_ms)

    marks: list[Mark] = [
        timeline.start(at_ms, 0, partial(write, number)) for number, at_ms in enumerate(times)
    ]
    order = [(one, other) for one, other in waits if one < other < len(marks)]
    for one, other in order:
        marks[one].before(marks[other])
    last_ms = timeline.play(2)

    assert sorted(told) == list(range(len(times)))
    assert all(told.index(one) < told.index(other) for one, other in order)
    assert at == sorted(at)
    assert last_ms == max([2, *times])
