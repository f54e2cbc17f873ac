"""Writes rejected rows to a CSV file that is safe to open in a spreadsheet."""

import csv
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from loaders.records import Rejected

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class RejectsFile:
    """A CSV file with the file, line, reason and text of rejected rows; the first one makes it.

    A file that an earlier load left at the same path is removed. At most `most` rows are written;
    if there were more, the last line says so.
    """

    def __init__(self, path: Path, most: int = 100_000) -> None:
        self.path = path
        self._most = most
        self.rows = 0
        self._file: Any = None
        self._writer: Any = None

    def __enter__(self) -> Self:
        self.path.unlink(missing_ok=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, file: str, rejected: Sequence[Rejected]) -> None:
        """Append rows of a file."""
        if not rejected:
            return
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("w", encoding="utf-8", newline="")
            self._writer = csv.writer(self._file)
            self._writer.writerow(["file", "line", "reason", "row"])
        room = max(self._most - self.rows, 0)
        self._writer.writerows(
            [harmless(file), row.line, row.reason, harmless(row.row)] for row in rejected[:room]
        )
        if room and len(rejected) > room:
            self._writer.writerow(["", "", "there are more, not written here", ""])
        self._file.flush()  # so that all of it is there when somebody looks why a load stopped
        self.rows += len(rejected)


def harmless(text: str) -> str:
    """The text, changed so that it neither starts a spreadsheet formula nor steers a terminal."""
    visible = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return f"'{visible}" if visible.startswith(FORMULA_STARTS) else visible
