"""The Delta Lake table: its files, where each log stands in it, and commits that happen once.

What a newcomer would get wrong
    A segment is written first and committed after; a process that dies between the two leaves
    a file that nobody's table lists, and `vacuum` takes it away.
    The position of a log is an application transaction of the table, so two archivists that
    both believe it is their turn cannot both commit.
    Object stores promise durability when they answer; a local disk does not, so what a local
    commit consists of is synced before anybody is told that it is archived. So is every commit
    before it, whoever made that.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import unquote, urlparse

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.fs import DeltaStorageHandler
from deltalake.transaction import AddAction, RemoveAction

from ledger.archive.errors import ArchiveFailed, ArchiveForeign, ArchiveMissing, short
from ledger.archive.files import statistics, sync, sync_commits
from ledger.archive.mend import mend
from ledger.archive.rows import PARTITION_BY, SCHEMA, LogName

LOG_ID = "ledger.log_id"
PARTITIONS = "ledger.partitions"
"""Set where the log is Kafka's: it begins at 0, has holes, and so many partitions."""
METADATA = "ledger"
"""The key of our own facts in a commit's metadata."""
ROW_GROUP_ROWS = 131_072

_STORED = pa.schema([field for field in SCHEMA if field.name not in PARTITION_BY])
_CLIMBING = dict.fromkeys(("position", "offset", "append_ms", "at_ms"), "DELTA_BINARY_PACKED")
_DICTIONARY = [f.name for f in _STORED if f.name not in (*_CLIMBING, "payload", "raw", "chain")]
_STATISTICS = ("position", "append_ms", "run")


class Behind(Exception):
    """Somebody else committed first; load again and go on from the table's position."""


@dataclass(frozen=True, slots=True)
class File:
    """One Parquet file of the table: positions `first` to `last` of one log and partition."""

    path: str
    log: str
    partition: int
    rows: int
    bytes: int
    first: int
    last: int


class Last(NamedTuple):
    """The last row of a log: the record as it was, and the running digest after it."""

    value: bytes
    chain: bytes


def local_root(location: str) -> Path | None:
    """The directory of an archive on a local disk; None for an object store."""
    parts = urlparse(location)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if "://" in location else Path(location)


class Table:
    """One archive, as of the version last loaded. Local path, `file://`, or object store URL.

    `storage_options` go to the object store as they are.
    """

    def __init__(self, delta: DeltaTable, location: str, options: dict[str, str] | None) -> None:
        self.delta = delta
        self.location = location
        self.root = local_root(location)
        self._options = options
        self._files: tuple[int, list[File]] = (-1, [])
        self._settled = -1
        said = delta.metadata().configuration
        self.log_id = str(said.get(LOG_ID, ""))
        self.partitions = int(said.get(PARTITIONS, 0))
        """Partitions of events and verdicts on Kafka; 0 for a SQLite log."""

    @classmethod
    def open(cls, location: str | Path, options: dict[str, str] | None = None) -> Table:
        """The archive that is there. Raises ArchiveMissing, ArchiveFailed, ArchiveForeign."""
        where = str(location)
        root = local_root(where)
        try:
            delta = DeltaTable(str(root) if root else where, storage_options=options)
        except TableNotFoundError:
            raise ArchiveMissing(where) from None
        except (DeltaError, OSError, ValueError) as problem:
            raise ArchiveFailed(where, short(problem)) from problem
        table = cls(delta, where, options)
        if not table.log_id:
            raise ArchiveForeign(where, "", "a ledger's log")
        return table

    @classmethod
    def open_or_create(
        cls,
        location: str | Path,
        log_id: str,
        options: dict[str, str] | None = None,
        *,
        partitions: int = 0,
    ) -> Table:
        """The archive of the log `log_id`, made if it is not there, mended after a power cut.

        `partitions` is how many a log on Kafka has, 0 for SQLite.
        Raises ArchiveForeign when it holds another log, ArchiveFailed when it cannot be made.
        """
        root = local_root(str(location))
        try:
            if root is not None:
                mend(root)
            table = cls.open(location, options)
        except OSError as problem:
            raise ArchiveFailed(str(location), short(problem)) from problem
        except ArchiveMissing:
            table = cls._create(str(location), log_id, options, partitions)
        if table.log_id != log_id:
            raise ArchiveForeign(str(location), table.log_id, log_id)
        return table

    @classmethod
    def _create(
        cls, where: str, log_id: str, options: dict[str, str] | None, partitions: int
    ) -> Table:
        root = local_root(where)
        configuration = {
            LOG_ID: log_id,
            "delta.dataSkippingStatsColumns": ",".join(_STATISTICS),
            "delta.logRetentionDuration": "interval 2 days",  # The proof is in the rows.
        }
        if partitions:
            configuration[PARTITIONS] = str(partitions)
        try:
            DeltaTable.create(
                str(root) if root else where,
                SCHEMA,
                partition_by=PARTITION_BY,
                name="ledger archive",
                configuration=configuration,
                storage_options=options,
                raise_if_key_not_exists=False,
            )
        except (DeltaError, OSError, ValueError) as problem:
            try:
                return cls.open(where, options)  # Another archivist was quicker; theirs is ours.
            except ArchiveMissing:
                raise ArchiveFailed(where, short(problem)) from problem
        return cls.open(where, options)

    def refresh(self) -> None:
        """Load the newest version. Raises ArchiveFailed, ArchiveForeign."""
        try:
            self.delta.update_incremental()
        except (DeltaError, OSError) as problem:
            raise ArchiveFailed(self.location, short(problem)) from problem

    def refresh_durably(self) -> None:
        """Load the newest version, and make it durable, whoever committed it. As `refresh`."""
        self.refresh()
        self.settle()

    @property
    def first(self) -> int:
        """The first position of every log."""
        return 0 if self.partitions else 1

    @property
    def version(self) -> int:
        """The version loaded."""
        return self.delta.version()

    def next_position(self, log: str, partition: int = 0) -> int | None:
        """The first position of this log that is not archived yet; None when nothing is."""
        return self.delta.transaction_version(self._app_id(log, partition))

    def logs(self) -> list[tuple[str, int]]:
        """Each (log, partition) that the table holds files of, sorted."""
        return sorted({(file.log, file.partition) for file in self.files()})

    def places(self) -> list[tuple[LogName, int]]:
        """Each (log, partition) that there is, whether anything of it is archived or not."""
        many = range(max(1, self.partitions))
        found: list[tuple[LogName, int]] = [("events", n) for n in many]
        found += [("verdicts", n) for n in many]
        found.append(("refused", 0))
        if self.partitions:
            found.append(("control", 0))
        return found

    def files(self) -> list[File]:
        """The files of the version loaded, by log, partition and first position."""
        version = self.version
        if self._files[0] == version:
            return list(self._files[1])
        actions = pa.table(self.delta.get_add_actions(flatten=True)).to_pylist()
        files = [
            File(
                path=row["path"],
                log=row["partition.log"],
                partition=row["partition.partition"],
                rows=row["num_records"],
                bytes=row["size_bytes"],
                first=row["min.position"],
                last=row["max.position"],
            )
            for row in actions
        ]
        files.sort(key=lambda file: (file.log, file.partition, file.first, file.path))
        self._files = version, files
        return list(files)

    def local_paths(self, log: str) -> list[str]:
        """Absolute paths of the files of one log, for a table on a local disk."""
        assert self.root is not None
        root = self.root.absolute()
        return [str(root / unquote(file.path)) for file in self.files() if file.log == log]

    def dataset(self) -> ds.Dataset:
        """The version loaded as a PyArrow dataset, wherever it lies."""
        return self.delta.to_pyarrow_dataset(schema=SCHEMA)

    def read(self, file: File, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """The stored columns of one file, batch by batch. Raises OSError, pa.ArrowException."""
        if self.root is None:
            source = self._filesystem().open_input_file(unquote(file.path))
        else:
            source = pa.OSFile(str(self.root / unquote(file.path)))
        with source, pq.ParquetFile(source) as parquet:
            yield from parquet.iter_batches(columns=columns)

    def last(self, log: str, partition: int = 0) -> Last:
        """The last archived row of a log; its chain is empty when nothing is archived."""
        position = self.next_position(log, partition)
        if position is None:
            return Last(b"", b"")
        at = position - 1
        files = [
            file
            for file in self.files()
            if (file.log, file.partition) == (log, partition) and file.first <= at <= file.last
        ]
        try:
            rows = [
                row
                for file in files
                for batch in self.read(file, ["position", "payload", "raw", "chain"])
                for row in batch.filter(pc.equal(batch["position"], at)).to_pylist()
            ]
        except (OSError, pa.ArrowException) as problem:
            raise ArchiveFailed(self.location, short(problem)) from problem
        if len(rows) != 1 or rows[0]["chain"] is None:
            raise ArchiveFailed(
                self.location,
                f"{log} is archived below {position}, but row {position - 1} is there "
                f"{len(rows)} times; run `ledger archive verify`",
            )
        text = rows[0]["payload"]
        return Last(rows[0]["raw"] if text is None else text.encode(), rows[0]["chain"])

    def write(self, rows: pa.Table, *, final: bool = False) -> AddAction:
        """One Parquet file of rows of one log and partition, on disk but in no version yet.

        `final` files are sorted by run and get a bloom filter on it. Raises ArchiveFailed.
        """
        log, partition = rows["log"][0].as_py(), rows["partition"][0].as_py()
        path = f"log={log}/partition={partition}/{uuid.uuid4().hex}.parquet"
        bloom = {"run": {"ndv": max(1, pc.count_distinct(rows["run"]).as_py()), "fpp": 0.01}}
        try:
            with self._create_file(path) as sink:
                pq.write_table(
                    rows.select(_STORED.names),
                    sink,
                    row_group_size=ROW_GROUP_ROWS,
                    compression="zstd",
                    compression_level=6 if final else 1,
                    use_dictionary=_DICTIONARY,
                    column_encoding=_CLIMBING,
                    write_statistics=[*_STATISTICS, "type"],
                    bloom_filter_options=bloom if final else None,
                )
            size = self._settle(path)
        except OSError as problem:
            raise ArchiveFailed(self.location, short(problem)) from problem
        return AddAction(
            path=path,
            size=size,
            partition_values={"log": log, "partition": str(partition)},
            modification_time=int(time.time() * 1000),
            data_change=not final,
            stats=json.dumps(statistics(rows, _STATISTICS)),
        )

    def commit(
        self,
        added: Sequence[AddAction],
        *,
        removed: Sequence[File] = (),
        positions: dict[tuple[LogName, int], int] | None = None,
        facts: Any = None,
    ) -> None:
        """Make written files part of the table, and move logs to their next `positions`.

        Raises Behind when somebody else's commit came first, ArchiveFailed.
        """
        now_ms = int(time.time() * 1000)
        gone = [
            RemoveAction(
                file.path,
                False,
                now_ms,
                file.bytes,
                {"log": file.log, "partition": str(file.partition)},
            )
            for file in removed
        ]
        marks = [
            (self._app_id(log, partition), position)
            for (log, partition), position in (positions or {}).items()
        ]
        # Delta lets two commits remove the same file (seen): both merges would count.
        for log, partition in {(file.log, file.partition) for file in removed}:
            app_id = f"{self._app_id(log, partition)}/merged"
            marks.append((app_id, (self.delta.transaction_version(app_id) or 0) + 1))
        properties = CommitProperties(
            custom_metadata={METADATA: facts} if facts is not None else None,
            app_transactions=[Transaction(app_id, version) for app_id, version in marks],
        )
        try:
            self.delta.create_write_transaction(
                [*added, *gone], "append", SCHEMA, PARTITION_BY, commit_properties=properties
            )
            self.refresh()
            self.settle()
        except CommitFailedError as problem:
            raise Behind(str(problem)) from problem
        except (DeltaError, OSError) as problem:
            raise ArchiveFailed(self.location, short(problem)) from problem

    def _app_id(self, log: str, partition: int) -> str:
        return f"{self.log_id}/{log}/{partition}"

    def _filesystem(self) -> pafs.FileSystem:
        return pafs.PyFileSystem(DeltaStorageHandler.from_table(self.delta._table, self._options))

    def _create_file(self, path: str) -> Any:
        """A new file of the table, open for writing."""
        if self.root is None:
            return self._filesystem().open_output_stream(path)
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return target.open("xb")

    def _settle(self, path: str) -> int:
        """The size of a written file, once it is durable."""
        if self.root is None:
            return cast(int, self._filesystem().get_file_info(path).size)
        target = self.root / path
        sync(target)
        sync(target.parent)
        return target.stat().st_size

    def settle(self) -> None:
        """Make all commits up to the one loaded durable, whoever made them; or ArchiveFailed."""
        if self.root is None or self.version <= self._settled:
            return
        try:
            sync_commits(self.root / "_delta_log", self._settled + 1, self.version)
        except OSError as problem:
            raise ArchiveFailed(self.location, short(problem)) from problem
        self._settled = self.version
