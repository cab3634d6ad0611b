"""The catalog: every record once, also the newest; and a select can do nothing but answer."""

import threading
from pathlib import Path
from typing import Any

import pytest

from ledger.archive.archivist import Archivist
from ledger.archive.compact import ALL, compact
from ledger.archive.errors import ArchiveForeign, ArchiveGap, ArchiveMissing
from ledger.archive.table import Table
from ledger.archive.verify import verify
from ledger.catalog import Catalog, SqlFailed, SqlRefused, TailTooLong, tail
from ledger.catalog.engine import Engine
from ledger.core.events import AgentEnded, AgentStarted, Event, LeaseReturned, RunStarted
from ledger.core.shapes import Units
from ledger.core.verdicts import Denial, Finding, Grant, RuleOrder, Verdict
from ledger.errors import LedgerError
from ledger.log.sqlite import SqliteLog
from ledger.wire import encode, encode_verdict


def record(log: SqliteLog, *events: Event) -> None:
    """Append these events."""
    log.append([(event.run, encode(event)) for event in events])


def say(log: SqliteLog, *verdicts: Verdict) -> None:
    """Publish these verdicts."""
    epoch = log.take_judgeship("test", 1, 1000)
    assert epoch is not None
    values = [(verdict.offset, verdict.run, encode_verdict(verdict)) for verdict in verdicts]
    assert log.commit_judged(epoch, log.end(), verdicts=values, checkpoints={})
    log.resign(epoch)


def one(catalog: Catalog, sql: str) -> dict[str, Any]:
    """The only row of an answer."""
    (row,) = catalog.sql(sql).to_pylist()
    assert isinstance(row, dict)
    return row


def offsets(catalog: Catalog) -> list[int]:
    """The offsets that `events` shows, sorted."""
    rows = catalog.sql('select "offset" from events order by all')["offset"].to_pylist()
    assert isinstance(rows, list)
    return rows


# --- what is seen -------------------------------------------------------------------------------


def test_each_record_is_there_once_wherever_it_lies(log: SqliteLog, where: Path) -> None:
    """In the log, in the archive, in both, trimmed from the log: one answer."""
    started = [AgentStarted(run="r", agent=f"a{i}", parent="root") for i in range(20)]
    with Catalog(where, log) as catalog:
        record(log, *started)
        assert offsets(catalog) == list(range(1, 21))
        archivist = Archivist(log, where, segment_rows=8)
        archivist.step()
        assert offsets(catalog) == list(range(1, 21))
        archivist.drain()
        say(log, Verdict(20, "r"))
        log.trim(*archivist.positions().values())
        record(log, *started[:3])

        assert len(log.read(0, 100)) < 10
        assert offsets(catalog) == list(range(1, 24))


def test_what_was_recorded_just_now_is_in_the_answer(log: SqliteLog, where: Path) -> None:
    """An operator asks about what is happening, not about yesterday."""
    with Catalog(where, log) as catalog:
        for count in range(1, 6):
            record(log, RunStarted(run=f"r{count}", agent="root"))
            say(log, Verdict(count, f"r{count}", decision="deny", denial=Denial("no")))

            assert one(catalog, "select count(*) as n from runs") == {"n": count}
            assert one(catalog, "select sum(denied)::bigint as n from runs") == {"n": count}


def test_an_archivist_that_trims_meanwhile_hides_nothing(log: SqliteLog, where: Path) -> None:
    """Between looking at the archive and at the log the boundary moves; every look is whole."""
    total, problems = 40, []

    def work() -> None:
        archivist = Archivist(log, where, segment_rows=7)
        for i in range(total):
            record(log, AgentStarted(run="r", agent=f"a{i}", parent="root"))
            say(log, Verdict(log.end() - 1, "r"))
            archivist.step()
            log.trim(*archivist.positions().values())

    worker = threading.Thread(target=work)
    with Catalog(where, log) as catalog:
        worker.start()
        last = 0
        while worker.is_alive():
            seen = offsets(catalog)
            if seen != list(range(1, len(seen) + 1)) or len(seen) < last:
                problems.append(seen)
            last = len(seen)
        worker.join()

        assert problems == []
        assert offsets(catalog) == list(range(1, total + 1))


def test_unreadable_and_refused_records_are_seen_as_what_they_are(
    log: SqliteLog, where: Path
) -> None:
    """They are in `events` with their reason, and change no figure of a run."""
    record(log, RunStarted(run="r", agent="root"))
    record(log, AgentStarted(run="r", agent="a", parent="nobody"))
    log.append([("r", b"\xff no event")])
    log.refuse("stranger", "too large", b"{}", offset=None)
    say(log, Verdict(2, "r", agent="a", refusal="parent nobody was never announced"))

    with Catalog(where, log) as catalog:
        assert one(catalog, "select count(*) as n from events") == {"n": 3}
        assert one(catalog, "select agents, refused from runs") == {"agents": 1, "refused": 1}
        assert one(catalog, "select type from events where refused is not null") == {"type": None}
        assert one(catalog, "select source, reason from refused")["reason"] == "too large"


def test_what_was_sent_twice_counts_once(log: SqliteLog, where: Path) -> None:
    """Clients send again when they are not sure; the judge stays silent, and so do the sums."""
    start = RunStarted(run="r", agent="root", source="s", seq=1)
    child = AgentStarted(run="r", agent="a", parent="root", source="s", seq=2)
    end = AgentEnded(run="r", agent="a", source="s", seq=3)
    record(log, start, child, child, end, end, child)

    with Catalog(where, log) as catalog:
        assert one(catalog, "select agents, children_max from runs") == {
            "agents": 2, "children_max": 1,
        }  # fmt: skip
        assert one(catalog, "select spent from budgets where agent = '' and unit = 'spawns'") == {
            "spent": 1
        }


def test_a_circle_of_parents_ends(log: SqliteLog, where: Path) -> None:
    """A foreign log may claim anything; the tree is walked all the same."""
    record(
        log,
        AgentStarted(run="r", agent="a", parent="b"),
        AgentStarted(run="r", agent="b", parent="a"),
        AgentStarted(run="r", agent="c", parent="c"),
    )
    with Catalog(where, log) as catalog:
        assert one(catalog, "select count(*) as n, max(depth) as d from agents") == {
            "n": 3,
            "d": None,
        }


def test_a_verdict_s_parts_have_views_of_their_own(log: SqliteLog, where: Path) -> None:
    """Leases, findings and orders of rules are asked for by name, not dug out of JSON."""
    record(log, RunStarted(run="r", agent="root"))
    record(log, LeaseReturned(run="r", agent="root", lease="0-1", left=Units(tool_calls=3)))
    finding = Finding("loop", "root", "critical", 2, "again", {"times": 9}, (1,), effect="kill_run")
    order = RuleOrder("0-1-0", "kill", "run", "", "again")
    lease = Grant("0-1", "root", "p1", (1, 8, 0, 5000, 0), 30_000)
    say(log, Verdict(1, "r", "root", at_ms=7, lease=lease, findings=(finding,), orders=(order,)))

    with Catalog(where, log) as catalog:
        verdict = one(catalog, "select lease, holder, ttl_ms, findings, orders from verdicts")
        assert verdict == {
            "lease": "0-1", "holder": "p1", "ttl_ms": 30_000, "findings": 1, "orders": 1,
        }  # fmt: skip
        found = one(
            catalog,
            "select name, level, effect, evidence, (facts->>'$.times')::int as times from findings",
        )
        assert found == {
            "name": "loop", "level": 2, "effect": "kill_run", "evidence": [1], "times": 9,
        }  # fmt: skip
        given = one(catalog, "select order_id, by_rule, given_ms from orders")
        assert given == {"order_id": "0-1-0", "by_rule": True, "given_ms": 7}
        row = one(
            catalog,
            "select leased, returned from budgets where agent = 'root' and unit = 'tool_calls'",
        )
        assert row == {"leased": 8, "returned": 3}
        assert one(catalog, "select killed, findings from runs") == {"killed": True, "findings": 1}


def test_every_view_has_the_columns_that_it_says(log: SqliteLog, where: Path) -> None:
    """The reference is generated from the heads of the views; it must not lie."""
    with Catalog(where, log) as catalog:
        for name, view in catalog.views().items():
            assert catalog.sql(f"select * from {name}").column_names == list(view.columns)
            assert view.about


def test_one_run_of_a_compacted_archive_is_found_by_its_files_heads(
    log: SqliteLog, where: Path
) -> None:
    """Runs are sorted and their names in a bloom filter: a stranger's name reads no rows."""
    for start in range(0, 4000, 1000):
        record(
            log,
            *(RunStarted(run=f"run-{i * 2:06}", agent="root") for i in range(start, start + 1000)),
        )
        Archivist(log, where).drain()
    compact(where, files_min=ALL)

    with Catalog(where) as catalog:
        plan = catalog.sql("explain analyze select * from events where run = 'run-000501'")
        assert " 4000 rows" not in plan["explain_value"][0].as_py()
        assert one(catalog, "select run from runs where run = 'run-000500'") == {
            "run": "run-000500"
        }


# --- what is not there --------------------------------------------------------------------------


def test_neither_archive_nor_log_is_said(where: Path) -> None:
    """A wrong path must not look like an empty ledger."""
    with pytest.raises(ArchiveMissing):
        Catalog(where)


def test_the_archive_of_another_log_is_said(log: SqliteLog, where: Path, tmp_path: Path) -> None:
    """Two histories in one answer would be worse than none."""
    record(log, RunStarted(run="r", agent="root"))
    Archivist(log, where).drain()
    with SqliteLog(tmp_path / "other.db") as other, pytest.raises(ArchiveForeign):
        Catalog(where, other)


def test_a_trimmed_log_without_its_archive_is_said(log: SqliteLog, where: Path) -> None:
    """The answer would be of the last minutes only, and nobody would know."""
    record(log, *(RunStarted(run=f"r{i}", agent="root") for i in range(9)))
    say(log, Verdict(9, "r8"))
    archivist = Archivist(log, where)
    archivist.drain()
    log.trim(*archivist.positions().values())

    with pytest.raises(ArchiveGap, match="trimmed before they were archived"):
        Catalog(where.with_name("wrong"), log)


def test_a_tail_beyond_memory_is_said(
    log: SqliteLog, where: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log of a month without an archive must not take the machine's memory."""
    monkeypatch.setattr(tail, "TAIL_ROWS_MAX", 5)
    record(log, *(RunStarted(run=f"r{i}", agent="root") for i in range(9)))

    with pytest.raises(TailTooLong, match="9 events are not archived yet, 5 at most"):
        Catalog(where, log)
    Archivist(log, where).drain()
    with Catalog(where, log) as found:
        assert len(offsets(found)) == 9


# --- attacks ------------------------------------------------------------------------------------

ATTACKS = [
    "copy (select 1) to '{dir}/out.csv'",
    "copy events to '{file}' (format parquet)",
    "attach '{dir}/x.db'",
    "install httpfs",
    "load httpfs",
    "set enable_external_access = true",
    "set lock_configuration = false",
    "pragma enable_external_access",
    "reset allowed_paths",
    "create table t as select 1",
    "create temp view events as select 1",
    "drop view events",
    "delete from events",
    "insert into _tail_events select * from _tail_events",
    "update events set run = ''",
    "export database '{dir}/out'",
    "call pragma_version()",
    "begin",
    "select 1; drop view events",
    "",
    "-- nothing",
    "select * from read_csv('{secret}')",
    "select * from read_text('{secret}')",
    "select * from read_blob('{secret}')",
    "select * from read_json('{secret}')",
    "select * from '{secret}'",
    "select * from glob('{dir}/*')",
    "select * from sniff_csv('{secret}')",
    "select * from read_parquet('{dir}/ledger.db-archive/_delta_log/*.json')",
    "select * from read_text('{dir}/ledger.db-archive/_delta_log/00000000000000000000.json')",
    "select * from sqlite_scan('{dir}/ledger.db', 'events')",
    "select * from query('drop view events')",
    "select * from secret_rows",
    "select getenv('HOME')",
    "with x as (select * from read_text('{secret}')) select * from x",
    "explain analyze copy (select 1) to '{dir}/out.csv'",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_question_can_neither_write_nor_look_elsewhere(
    attack: str, log: SqliteLog, where: Path, tmp_path: Path
) -> None:
    """Whoever may ask may not thereby read the machine, or change what others see."""
    record(log, RunStarted(run="r", agent="root"))
    Archivist(log, where).drain()
    secret = tmp_path / "secret.txt"
    secret.write_text("a,b\n1,2\n")
    file = Table.open(where).local_paths("events")[0]
    before = sorted(tmp_path.rglob("*"))
    secret_rows = Table.open(where).dataset()  # Seen by DuckDB if it looks at our variables.

    with Catalog(where) as found:
        with pytest.raises(LedgerError):
            found.sql(attack.format(dir=tmp_path, secret=secret, file=file))
        assert len(offsets(found)) == 1
    assert sorted(tmp_path.rglob("*")) == before
    assert secret_rows is not None
    assert verify(where).ok


def test_what_an_explained_statement_does_is_undone(log: SqliteLog, where: Path) -> None:
    """`explain analyze` runs what it explains."""
    with Catalog(where, log) as found:
        found.sql("explain analyze create table t as select 1")

        with pytest.raises(SqlFailed, match="t does not exist"):
            found.sql("select * from t")


def test_a_mistake_is_shown_where_it_is(log: SqliteLog, where: Path) -> None:
    """Nobody finds `zz` in forty lines by being told that something is wrong."""
    with Catalog(where, log) as found:
        with pytest.raises(SqlFailed) as wrong:
            found.sql("select run\nfrom events\nwhere zz = 1")
        assert (wrong.value.line, "zz" in str(wrong.value)) == (3, True)
        with pytest.raises(SqlFailed) as unparsable:
            found.sql("selec 1")
        assert unparsable.value.line == 1
        with pytest.raises(SqlFailed, match="Conversion"):
            found.sql("select 'x'::int")
        with pytest.raises(SqlRefused, match="one select at a time, not 2 statements"):
            found.sql("select 1; select 2")
        assert found.sql("select $a as a", {"a": "it's"}).to_pylist() == [{"a": "it's"}]


def test_nothing_is_left_behind(log: SqliteLog, where: Path) -> None:
    """Spilled rows are the users' data."""
    with Catalog(where, log) as found:
        spill = Path(found._spill)
        assert spill.is_dir()
    found.close()

    assert not spill.exists()


# --- elsewhere than on a local disk -------------------------------------------------------------


def test_the_way_of_object_stores_gives_the_same(log: SqliteLog, where: Path) -> None:
    """There, files are written and read through delta-rs, and DuckDB asks a PyArrow dataset."""
    archivist = Archivist(log, where, segment_rows=5)
    archivist.table.root = None
    record(log, *(AgentStarted(run=f"r{i % 3}", agent=f"a{i}", parent="root") for i in range(20)))
    archivist.drain()
    compact(archivist.table, files_min=ALL)
    assert verify(archivist.table).ok
    assert len(archivist.table.files()) == 1
    record(log, AgentStarted(run="r0", agent="last", parent="root"))
    assert archivist.drain() == 1

    engine = Engine({"events": archivist.table.dataset()}, str(where.parent), "1GB")
    found = engine.ask("select count(*) as n, count(distinct run) as runs from events")
    engine.close()
    assert found.to_pylist() == [{"n": 21, "runs": 3}]
