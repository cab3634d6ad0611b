"""Every story comes out as it is written, and a story that cannot be read says where."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.core import detectors
from tests.stories.story import StoryWrong, read

HERE = Path(__file__).parent
STORIES = sorted(HERE.glob("*.story"))


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_the_story_comes_out_as_it_is_written(path: Path) -> None:
    """What is said of a run, and nothing else: `python -m tests.stories --rewrite` shows it."""
    text, _ = read(path).told()

    assert text.splitlines() == path.read_text().splitlines()


def findings(path: Path) -> set[str]:
    return {finding.name for verdict in read(path).told()[1] for finding in verdict.findings}


@pytest.mark.parametrize("name", detectors.NAMES)
def test_each_detector_has_a_story_where_it_speaks(name: str) -> None:
    """A detector that nobody ever heard may be deaf."""
    assert name in findings(HERE / f"{name}_speaks.story")


@pytest.mark.parametrize("name", detectors.NAMES)
def test_each_detector_has_a_story_where_it_stays_silent(name: str) -> None:
    """What looks much like its pattern, and is healthy work: nothing at all is found."""
    path = HERE / f"{name}_stays_silent.story"

    assert not findings(path)
    assert len(read(path).lines) > 5


def test_every_scripted_story_says_so() -> None:
    """A reader must not take an invented run for a recorded one."""
    assert [path.stem for path in STORIES if "Scripted" not in path.read_text()] == []


START = "---\n0  root starts\n"
WRONG = {
    "0  root starts\n": (1, "no line `---`"),
    "[run]\nagents = 3\n---\n": (1, "the policy"),
    START + "1  root dances\n": (3, "is no sentence"),
    START + "root ends\n": (3, "no time at the start"),
    START + "1  nobody ends\n": (3, "nobody started nobody; there are root"),
    START + "5..2  root ends\n": (3, "2 comes before 5"),
    START + "1  root takes a lease of many calls\n": (3, "is no amount"),
    START + "1  root gets x from y\n": (3, "root has no open call of y"),
    START + "1  root returns its lease\n": (3, "root holds no lease"),
    START + "1  ops orders o1: stop the run\n": (3, "'stop' is no order; there are kill"),
    "---\n    > allow\n": (2, "nothing was told yet"),
}


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text.splitlines()[-1].strip())
def test_a_story_that_cannot_be_read_says_where(text: str, tmp_path: Path) -> None:
    """Whoever writes a story gets the line, and what is wrong with it."""
    line, problem = WRONG[text]
    path = tmp_path / "bad.story"
    path.write_text(text)
    with pytest.raises(StoryWrong) as wrong:
        read(path).told()

    assert str(wrong.value).startswith(f"bad.story:{line}: ")
    assert problem in str(wrong.value)


def test_a_story_that_says_too_little_fails(tmp_path: Path) -> None:
    """A missing line is as wrong as a wrong one: silence is part of the story."""
    speaks = (HERE / "repeated_step_speaks.story").read_text().splitlines()
    told = [line for line in speaks if "root critical" not in line]
    path = tmp_path / "less.story"
    path.write_text("\n".join(told) + "\n")

    assert read(path).told()[0].splitlines() == speaks
