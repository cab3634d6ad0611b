"""Whatever happens to judges, what they leave is what a plain fold of the log gives."""

import os
import random
from pathlib import Path

from ledger.log.kafka_place import Place
from tests.live.kafka.chaos import chaos


def test_judges_that_die_and_freeze_lose_nothing(place: Place, tmp_path: Path) -> None:
    """The one promise: same events, same verdicts, whoever judges and however often it dies."""
    seconds = float(os.environ.get("LEDGER_CHAOS_S", "120"))
    seed = int(os.environ.get("LEDGER_CHAOS_SEED", random.SystemRandom().randrange(10**6)))
    print(f"to repeat it: python -m tests.live.kafka.chaos --seconds {seconds:g} --seed {seed}")

    done = chaos(place, seconds, seed, tmp_path)

    assert int(str(done["written"])) > 0
