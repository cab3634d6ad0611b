"""Whatever happens to archivists, the archive holds each record once."""

import os
import random
from pathlib import Path

from ledger.log.kafka_place import Place
from tests.live.kafka.archive_chaos import chaos


def test_archivists_that_die_and_freeze_archive_each_record_once(
    place: Place, tmp_path: Path
) -> None:
    """Invariant 7, where there is no favourite place to crash."""
    seconds = float(os.environ.get("LEDGER_CHAOS_S", "20"))
    seed = int(os.environ.get("LEDGER_CHAOS_SEED", random.SystemRandom().randrange(10**6)))
    again = f"--seconds {seconds:g} --seed {seed}"
    print(f"to repeat it: python -m tests.live.kafka.archive_chaos {again}")

    done = chaos(place, seconds, seed, tmp_path)

    assert done["archived"] >= done["written"] > 0
