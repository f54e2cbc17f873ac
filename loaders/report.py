"""Reports what a load did, file by file."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from loaders.reasons import HINTS

MOST_WARNINGS = 20  # of a file
MOST_EXAMPLES = 5  # of rejected rows


@dataclass
class FileReport:
    """What became of one file."""

    file: str
    rows: int = 0  # data rows read: pairs in adjacency lists, records elsewhere
    rejected: int = 0
    understood: dict[str, Any] = field(default_factory=dict)  # see `loaders.understood`
    stored: dict[str, int] = field(default_factory=dict)  # table -> rows, duplicates included
    duplicates: dict[str, int] = field(default_factory=dict)  # table -> rows that repeat a fact

    def warn(self, text: str) -> None:
        """Add something that may not be as it was meant; a few of a kind are enough."""
        warnings = self.understood.setdefault("warnings", [])
        if len(warnings) < MOST_WARNINGS:
            warnings.append(text)


@dataclass
class LoadReport:
    """What a load did; `as_dict` is what `--json` prints."""

    format: str
    dry_run: bool = False  # nothing was loaded
    load: int | None = None  # its number, as `loads undo` takes it
    files: list[FileReport] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)  # reason -> rows
    self_relations: int = 0  # relations of an item or user with itself, dropped
    outliers: list[tuple[str, int]] = field(default_factory=list)  # users, events: >= 1000 medians
    examples: list[dict[str, Any]] = field(default_factory=list)  # the first rejected rows
    shown: list[str] = field(default_factory=list)  # attributes of a file's first items
    hidden: int = 0  # items missing from a load that replaces
    totals: dict[str, int] = field(default_factory=dict)  # rows in the store afterwards
    rejects_file: str | None = None
    seconds: float = 0.0

    @property
    def rows(self) -> int:
        """How many rows were read."""
        return sum(file.rows for file in self.files)

    @property
    def stored(self) -> dict[str, int]:
        """Table -> rows accepted, duplicates included."""
        return _sums(file.stored for file in self.files)

    @property
    def duplicates(self) -> dict[str, int]:
        """Table -> rows that repeat a fact of the same file."""
        return _sums(file.duplicates for file in self.files)

    @property
    def rows_per_second(self) -> float:
        """How many rows were read, checked and applied in a second."""
        return self.rows / self.seconds if self.seconds else 0.0

    def about(self) -> dict[str, Any]:
        """What the store keeps about the load, as JSON values; it names nobody."""
        return {
            "format": self.format,
            "files": [
                {"file": file.file, "rows": file.rows, "rejected": file.rejected}
                for file in self.files
            ],
            "rejected": dict(self.rejected),
            "outliers": len(self.outliers),
        }

    def as_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "format": self.format,
            "dry_run": self.dry_run,
            "load": self.load,
            "rows": self.rows,
            "files": [vars(file) for file in self.files],
            "stored": self.stored,
            "duplicates": self.duplicates,
            "rejected": dict(self.rejected),
            "rejected_examples": self.examples,
            "hints": {reason: HINTS[reason] for reason in self.rejected if reason in HINTS},
            "self_relations": self.self_relations,
            "outliers": [{"user": user, "events": events} for user, events in self.outliers],
            "hidden": self.hidden,
            "totals": self.totals,
            "rejects_file": self.rejects_file,
            "seconds": round(self.seconds, 3),
            "rows_per_second": round(self.rows_per_second),
        }


def _sums(parts: Iterator[dict[str, int]]) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for part in parts:
        sums.update(part)
    return dict(sums)
