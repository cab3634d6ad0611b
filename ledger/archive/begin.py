"""Where an archive begins whose log on Kafka has lost its beginning before that: declared, once.

What a newcomer would get wrong
    Nothing is lost to judges by it (that is `range_lost`): an archive that is begun late lacks
    what another one has, or nobody. It is a person's word all the same, about these positions and
    no later ones, so that an archivist that was given a wrong place does not begin there by itself.
    It stands in the table's properties, because a partition may have no row yet that could say it,
    and in the chain as soon as there is one.
"""

from __future__ import annotations

from collections.abc import Mapping

from deltalake.exceptions import CommitFailedError, DeltaError
from pydantic_core import from_json, to_json

from ledger.archive.archivist import RACES_MAX
from ledger.archive.errors import ArchiveFailed, short
from ledger.archive.rows import LogName
from ledger.archive.table import Table
from ledger.log.kafka_lost import Lost

BEGINS = "ledger.begins"
REASON_CHARS_MAX = 2_048


def begins(table: Table) -> dict[tuple[str, int], Lost]:
    """What was declared to be in no row, of each log and partition, as of the version loaded.

    Raises ArchiveFailed where somebody else wrote that.
    """
    said = table.delta.metadata().configuration.get(BEGINS, "{}")
    found = {}
    try:
        for where, (begin, reason) in from_json(said).items():
            log, _, number = where.rpartition("/")
            found[log, int(number)] = Lost(int(number), 0, begin - 1, reason=reason)
    except (ValueError, TypeError, AttributeError):
        problem = f"its property {BEGINS} is {said!r:.100}, which no ledger wrote; remove it"
        raise ArchiveFailed(table.location, problem) from None
    return found


def declare(
    table: Table, found: Mapping[tuple[LogName, int], int], why: str
) -> dict[tuple[LogName, int], int]:
    """Declare that the archive begins where these logs and partitions do, because of `why`.

    Only those that begin above 0, of which nothing is archived or declared yet; which these are.
    Raises ArchiveFailed.
    """
    for _ in range(RACES_MAX):
        table.refresh()
        known = {where: (one.last + 1, one.reason) for where, one in begins(table).items()}
        new = {
            where: begin
            for where, begin in found.items()
            if begin and where not in known and table.next_position(*where) is None
        }
        for where, begin in new.items():
            known[where] = begin, f"the archive begins at {begin}: {why[:REASON_CHARS_MAX]}"
        said = {f"{log}/{number}": one for (log, number), one in known.items()}
        try:
            if new:
                table.delta.alter.set_table_properties(
                    {BEGINS: to_json(said).decode()}, raise_if_not_exists=False
                )
                table.settle()
            return new
        except CommitFailedError:
            continue  # Somebody else's commit came first: look again at what is left.
        except (DeltaError, OSError) as problem:
            raise ArchiveFailed(table.location, short(problem)) from problem
    raise ArchiveFailed(table.location, f"others were quicker {RACES_MAX} times in a row")
