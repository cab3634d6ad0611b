"""Archivists that are killed, frozen, thawed, stopped and started at random, while a fleet writes.

A program too: `python -m tests.live.kafka.archive_chaos --seconds 60 --seed 7` starts a broker of
its own, or uses the one that LEDGER_KAFKA names, and fails where the archive does not hold each
record of each topic exactly once.
"""

import argparse
import asyncio
import random
import tempfile
from pathlib import Path

from ledger.archive.table import Table
from ledger.log.kafka_place import Place
from ledger.log.kafka_topics import apply
from tests.live.kafka.archived import archivists, caught_up, compare
from tests.live.kafka.broker import running
from tests.live.kafka.chaos import torment_for, writing

EVENTS_PER_S = 3_000


def chaos(place: Place, seconds: float, seed: int, folder: Path) -> dict[str, int]:
    """Let it happen for `seconds`; counts of what was done. AssertionError on a difference."""
    where = folder / "archive"
    writer = writing(place, seconds, EVENTS_PER_S, seed)
    try:
        with archivists(place, folder, where) as workers:
            counts = torment_for(seconds, workers, random.Random(seed), between_s=(1, 5))
            counts["written"] = int(writer.communicate(timeout=120)[0])
            for number in sorted(workers.frozen):
                workers.thaw(number)
            for number in [n for n, one in workers.running.items() if one.poll() is not None]:
                workers.running.pop(number)
            if not workers.awake():
                workers.start()
            caught_up(place, where, workers)
            for number in list(workers.running):
                workers.stop(number)
        counts["archived"] = asyncio.run(compare(place, where))
        counts["versions"] = Table.open(where).version
    finally:
        writer.kill()
        writer.communicate()
    return counts


def main() -> None:
    """Run it once, and print what was done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    asked = parser.parse_args()
    print(
        f"python -m tests.live.kafka.archive_chaos --seconds {asked.seconds:g} --seed {asked.seed}"
    )
    with running() as broker, tempfile.TemporaryDirectory() as folder:
        place = Place(broker.bootstrap, f"archive-{asked.seed}", partitions=4, replication=1)
        asyncio.run(apply(place))
        print(chaos(place, asked.seconds, asked.seed, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
