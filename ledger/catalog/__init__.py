"""The catalog: questions in SQL about everything that was recorded, also a second ago.

`Catalog` joins the archive's files with the live tail of the log, each record once, and lays the
views of `views/*.sql` over them. `queries` finds the questions of `queries/*.sql`.
Nothing here is imported by `import ledger`.
"""

from ledger.catalog.catalog import Catalog
from ledger.catalog.errors import QueryUnknown, QueryWrong, SqlFailed, SqlRefused, TailTooLong
from ledger.catalog.queries import Query

__all__ = [
    "Catalog", "Query", "QueryUnknown", "QueryWrong", "SqlFailed", "SqlRefused", "TailTooLong",
]  # fmt: skip
