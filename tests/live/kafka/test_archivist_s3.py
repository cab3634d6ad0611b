"""The same on an object store: archivists race on a real S3-compatible server."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from ledger.archive.compact import ALL, compact
from ledger.archive.verify import verify
from ledger.catalog import Catalog
from ledger.log.kafka_place import Place
from tests.live.kafka.archived import archivists, caught_up, compare, fill
from tests.live.kafka.s3 import serving


def test_archivists_race_on_an_object_store(place: Place, tmp_path: Path) -> None:
    """The store refuses the second of two commits of one version: that is all it is asked for."""
    (tmp_path / "other").mkdir()
    with serving() as (bucket, options):
        where = f"{bucket}/archives/{place.prefix}"
        with (
            archivists(place, tmp_path, where, **options) as ours,
            archivists(
                place, tmp_path / "other", where, LEDGER_ARCHIVE_GROUP="others", **options
            ) as others,
        ):
            ours.start()
            others.start()
            for seed in range(30, 36):
                asyncio.run(fill(place, 3, seed=seed))
            caught_up(place, where, ours, options)
            others.kill(1)
            ours.start()
            asyncio.run(fill(place, 3, seed=36))
            caught_up(place, where, ours, options)
        count = asyncio.run(compare(place, where, options))

        assert count >= 8_000
        assert compact(where, storage_options=options, files_min=ALL).rows > 0
        assert verify(where, storage_options=options).ok
        asked(where, options, count)


def asked(where: str, options: dict[str, str], count: int) -> None:
    """Questions in SQL, from Python and from the command line, without any extension."""
    with Catalog(where, storage_options=options) as catalog:
        found = catalog.sql("select count(*) as n from events").to_pylist()
        run = catalog.sql("select run from runs order by all limit 1").to_pylist()[0]["run"]
        some = catalog.sql("select * from events where run = $run", {"run": run})

    assert found == [{"n": count}]
    assert some.num_rows > 0
    command = [sys.executable, "-m", "ledger.cli", "--archive", where]
    for words in (["sql", "select count(*) as n from events", "--csv"], ["archive", "verify"]):
        done = subprocess.run(
            [*command, *words], check=False, capture_output=True, text=True,
            env={**os.environ, **options},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert str(count) in done.stdout.replace(",", "") or "whole" in done.stdout
