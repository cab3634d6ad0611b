"""Every query of `queries/` answers as its `.test` file says, wherever the records lie."""

from pathlib import Path

import pytest

from ledger.archive.archivist import Archivist
from ledger.archive.compact import ALL, compact
from ledger.catalog import Catalog, QueryUnknown, QueryWrong
from ledger.catalog.queries import find, parse, queries
from ledger.log.sqlite import SqliteLog
from tests.queries.case import Case, read, shown

HERE = Path(__file__).parent
NAMES = sorted(path.stem for path in HERE.glob("*.test"))


def recorded(case: Case, path: Path) -> SqliteLog:
    """A log that holds what the case says."""
    log = SqliteLog(path)
    log.append(case.events)
    epoch = log.take_judgeship("test", 1, 1000)
    assert epoch is not None
    assert log.commit_judged(epoch, log.end(), verdicts=case.verdicts, checkpoints={})
    return log


def check(catalog: Catalog, name: str, case: Case) -> None:
    """The query's answer is the expected table, columns and order included."""
    answer = catalog.query(name, **case.params)
    rows = [[shown(value) for value in row.values()] for row in answer.to_pylist()]

    assert answer.column_names == case.columns
    assert rows == case.rows


def test_every_query_has_a_test() -> None:
    """A question nobody checked gives an answer nobody should believe."""
    assert sorted(queries()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_query(name: str, tmp_path: Path) -> None:
    """Live, archived, compacted and trimmed: the same answer."""
    case = read(HERE / f"{name}.test")
    archive = tmp_path / "archive"
    with recorded(case, tmp_path / "ledger.db") as log, Catalog(archive, log) as catalog:
        check(catalog, name, case)
        archivist = Archivist(log, archive, segment_rows=5)
        archivist.step()
        check(catalog, name, case)
        archivist.drain()
        check(catalog, name, case)
        compact(archive, files_min=ALL)
        log.trim(*archivist.positions().values())
        check(catalog, name, case)
    with Catalog(archive) as alone:
        check(alone, name, case)


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_ledger_has_an_empty_answer(name: str, tmp_path: Path) -> None:
    """The first thing a newcomer does is ask before anything was recorded."""
    with SqliteLog(tmp_path / "ledger.db") as log, Catalog(None, log) as catalog:
        assert catalog.query(name).num_rows == 0


def test_a_wrong_question_says_what_there_is(tmp_path: Path) -> None:
    """Names are guessed before they are looked up."""
    with pytest.raises(QueryUnknown, match=r"no query 'fanout'; there are: .*fan_out_by_run"):
        find("fanout")
    query = find("fan_out_by_run")
    with pytest.raises(QueryWrong, match=r"no parameter 'since'; it has: \$since_ms, \$limit"):
        query.bind({"since": 1})
    with pytest.raises(QueryWrong, match="is a number, not 'soon'"):
        query.bind({"since_ms": "soon"})

    assert query.bind({"limit": "5"}) == {"since_ms": 0, "limit": 5}


def test_a_query_without_its_header_is_refused() -> None:
    """The header is the query's documentation; there is no other."""
    with pytest.raises(QueryWrong, match="no line `-- mine: "):
        parse("mine", "select 1")
    with pytest.raises(QueryWrong, match="no line `-- why: "):
        parse("mine", "-- mine: what?\nselect 1")
    with pytest.raises(QueryWrong, match="cannot read the parameter 'limit'"):
        parse("mine", "-- mine: what?\n-- why: so\n-- params: limit\nselect 1")
    needs = parse("mine", "-- mine: what?\n-- why: so\n-- params: $run\nselect $run")

    with pytest.raises(QueryWrong, match=r"needs \$run"):
        needs.bind({})
