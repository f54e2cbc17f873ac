"""Load files into a store: read, check, stage, and at the end of each file apply.

Nothing of a file reaches the store before the whole file was read and its share of rejected
rows was found bearable. Applying is in transactions of 100,000 upserts, so a load that is
killed at any moment and run again gives the same graph, and so does the same file twice.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from graph.errors import InputError, TooManyRejects
from graph.model import SCHEMAS
from graph.store import GraphStore
from loaders.duplicates import UserCounts
from loaders.format import Format, Options
from loaders.records import Chunk, Rejected, explain, validate
from loaders.registry import FORMATS
from loaders.rejects import RejectsFile
from loaders.staging import BATCH_ROWS, Stage, staging

CHECKED_AFTER = 10_000  # rows: from then on the share of rejects is watched
READING_SHARE = 0.2  # of the work of a file; the rest is applying it

Progress = Callable[[int, int, int], None]
"""Called with bytes done, bytes in all, rows done; the last call has done == all."""


@dataclass
class FileReport:
    """What became of one file."""

    file: str
    rows: int = 0  # data rows read: pairs in adjacency lists, records elsewhere
    rejected: int = 0
    stored: dict[str, int] = field(default_factory=dict)  # table -> rows, duplicates included
    duplicates: dict[str, int] = field(default_factory=dict)  # table -> rows that say it again


@dataclass
class LoadReport:
    """What a load did; `as_dict` is what `--json` prints."""

    format: str
    files: list[FileReport] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)  # reason -> rows
    self_relations: int = 0  # relations of something with itself, dropped
    outliers: list[tuple[str, int]] = field(default_factory=list)  # users, events: >= 1000 medians
    hidden: int = 0  # items missing from a load that replaces
    totals: dict[str, int] = field(default_factory=dict)  # rows in the store afterwards
    rejects_file: str | None = None
    seconds: float = 0.0

    @property
    def rows(self) -> int:
        """Rows read."""
        return sum(file.rows for file in self.files)

    @property
    def stored(self) -> dict[str, int]:
        """Table -> rows taken, duplicates included."""
        return _sums(file.stored for file in self.files)

    @property
    def duplicates(self) -> dict[str, int]:
        """Table -> rows that say again what their file said already."""
        return _sums(file.duplicates for file in self.files)

    @property
    def rows_per_second(self) -> float:
        """Rows read, checked and applied in a second."""
        return self.rows / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "format": self.format,
            "rows": self.rows,
            "files": [vars(file) for file in self.files],
            "stored": self.stored,
            "duplicates": self.duplicates,
            "rejected": dict(self.rejected),
            "self_relations": self.self_relations,
            "outliers": [{"user": user, "events": events} for user, events in self.outliers],
            "hidden": self.hidden,
            "totals": self.totals,
            "rejects_file": self.rejects_file,
            "seconds": round(self.seconds, 3),
            "rows_per_second": round(self.rows_per_second),
        }


def load(
    paths: Sequence[Path],
    format_name: str,
    store: GraphStore,
    *,
    staging_folder: Path,
    rejects_file: Path,
    now: int,
    options: Options | None = None,
    max_rejects: float = 0.05,
    replace: bool = False,
    progress: Progress | None = None,
) -> LoadReport:
    """Load files, file by file, and say what became of every row.

    Args:
        paths: files or folders.
        format_name: a name of `loaders.registry.FORMATS`.
        store: takes the rows.
        staging_folder: is made; a load keeps one file's checked rows there, about 30 bytes each.
        rejects_file: CSV of what was rejected; written only when there is something.
        now: seconds since 1970; times more than a day later are rejected.
        options: what else is known about the files.
        max_rejects: bearable share of rejected rows of a file, from 0 to 1.
        replace: what these files say about an item replaces what was stored, and items that
            they do not name are hidden. Files without item tables name items by their events.
        progress: is told about the way.

    Raises:
        InputError: an unknown format, a file that is missing, damaged or of another format.
        TooManyRejects: nothing of the file at fault was applied; files before it were.
    """
    began = time.perf_counter()
    chosen = format_named(format_name)
    options = options or Options()
    sources = [source for path in paths for source in chosen.sources(path, options)]
    sizes = [source.path.stat().st_size for source in sources]
    meter = _Meter(sum(sizes), progress)
    report = LoadReport(chosen.name)
    users = UserCounts()
    named = _NamedItems() if replace else None
    with staging(staging_folder) as folder, RejectsFile(rejects_file) as rejects:
        for source, size in zip(sources, sizes, strict=True):
            stage = Stage(folder)
            file = FileReport(str(source.path))
            report.files.append(file)
            with closing(stage):
                for chunk in chosen.read(source, options):
                    _take(chunk, file, report, stage, rejects, now=now, replace=replace)
                    meter.reading(chunk.done, file.rows)
                    if file.rows >= CHECKED_AFTER:
                        _bear(file, report, rejects, max_rejects)
                _bear(file, report, rejects, max_rejects)
                file.stored, file.duplicates = dict(stage.rows), stage.duplicates()
                _apply(stage, store, meter, users=users, named=named, size=size)
            meter.finished(size, file.rows)
        if named is not None:
            report.hidden = _hide_missing(store, named.ids())
        report.rejects_file = str(rejects.path) if rejects.rows else None
    report.outliers = users.outliers()
    report.totals = store.counts()
    report.seconds = time.perf_counter() - began
    return report


def read_tables(
    paths: Sequence[Path], format_name: str, *, now: int, options: Options | None = None
) -> tuple[dict[str, pa.Table], Counter[str]]:
    """All checked rows of files as one table each, in memory, and the rejects by reason.

    For parts of an evaluation; tables that the files do not have are missing.
    """
    chosen = format_named(format_name)
    options = options or Options()
    tables: dict[str, list[pa.Table]] = {}
    reasons: Counter[str] = Counter()
    for path in paths:
        for source in chosen.sources(path, options):
            for chunk in chosen.read(source, options):
                for table, good, rejected, _ in checked(chunk, now):
                    tables.setdefault(table, []).append(good)
                    reasons.update(reject.reason for reject in rejected)
                reasons.update(reject.reason for reject in chunk.rejected)
    return {table: pa.concat_tables(parts) for table, parts in tables.items()}, reasons


def format_named(name: str) -> Format:
    """The format of that name.

    Raises:
        InputError: there is none; the message lists those that are.
    """
    if name not in FORMATS:
        raise InputError(f"format {name!r} is not known; there are {', '.join(FORMATS)}")
    return FORMATS[name]


def checked(chunk: Chunk, now: int) -> Iterator[tuple[str, pa.Table, list[Rejected], int]]:
    """Table, good rows, rejects and dropped self-relations of a chunk, derived rows included.

    What derives from a rejected row goes with it, without being rejected again.
    """
    main = validate(chunk.table, chunk.columns, len(chunk.lines), now)
    yield chunk.table, main.good, explain(chunk, main.codes), main.loops
    for derived in chunk.derived:
        columns, parents = derived.columns, derived.parents
        if not main.kept.all():
            alive = main.kept[parents]
            keep = pa.array(alive)
            columns = {
                name: column if isinstance(column, str) else column.filter(keep)
                for name, column in columns.items()
            }
            parents = parents[alive]
        found = validate(derived.table, columns, len(parents), now)
        part = Chunk(derived.table, columns, chunk.lines[parents], chunk.done)
        yield derived.table, found.good, explain(part, found.codes), found.loops


def _take(
    chunk: Chunk,
    file: FileReport,
    report: LoadReport,
    stage: Stage,
    rejects: RejectsFile,
    *,
    now: int,
    replace: bool,
) -> None:
    file.rows += len(chunk.lines) + len(chunk.rejected)
    rejected = list(chunk.rejected)
    for table, good, wrong, loops in checked(chunk, now):
        if replace and table == "items":  # what a replacing load names is shown again
            shown = good.column("hidden").fill_null(False)
            good = good.set_column(good.column_names.index("hidden"), "hidden", shown)  # noqa: PLW2901
        stage.add(table, good)
        rejected += wrong
        report.self_relations += loops
    file.rejected += len(rejected)
    report.rejected.update(reject.reason for reject in rejected)
    rejects.write(file.file, rejected)


def _bear(file: FileReport, report: LoadReport, rejects: RejectsFile, max_rejects: float) -> None:
    if file.rejected <= max_rejects * file.rows:
        return
    reason, rows = report.rejected.most_common(1)[0]
    raise TooManyRejects(
        f"{file.file}: {file.rejected:,} of the first {file.rows:,} rows were rejected, more than "
        f"{max_rejects:.0%}; most often: {reason} ({rows:,}). Nothing of this file was loaded. "
        f"See {rejects.path}; check format, columns and encoding, or allow a larger share"
    )


def _apply(
    stage: Stage,
    store: GraphStore,
    meter: "_Meter",
    *,
    users: UserCounts,
    named: "_NamedItems | None",
    size: int,
) -> None:
    rows = sum(stage.rows.values())
    done = 0
    for table, batch in stage.batches():
        store.apply({table: batch}, replace=named is not None and table == "items")
        done += batch.num_rows
        if table == "events":
            users.add(batch.column("user"))
        if named is not None:
            named.add(table, batch)
        meter.applying(done / rows, size)


def _hide_missing(store: GraphStore, named: pa.Array) -> int:
    """Hide the items of the store that are not among `named`; how many were shown until now."""
    items = store.read("items").select(["id", "hidden"])
    missing = pc.and_(
        pc.invert(pc.is_in(items.column("id").cast(pa.string()), named)),
        pc.invert(items.column("hidden").fill_null(False)),
    )
    ids = items.filter(missing).column("id").cast(pa.string())
    for start in range(0, len(ids), BATCH_ROWS):
        part = ids.slice(start, BATCH_ROWS).combine_chunks()
        columns = {
            name: pa.nulls(len(part), kind)
            for name, kind in zip(SCHEMAS["items"].names, SCHEMAS["items"].types, strict=True)
        }
        columns |= {"id": part, "hidden": pa.repeat(pa.scalar(True), len(part))}
        store.apply({"items": pa.table(columns, schema=SCHEMAS["items"])})
    return len(ids)


class _NamedItems:
    """The items a load names: those of its item tables, else those of its events."""

    def __init__(self) -> None:
        self._listed: list[pa.Array] = []
        self._used: list[pa.Array] = []

    def add(self, table: str, rows: pa.Table) -> None:
        if table == "items":
            self._listed.append(rows.column("id").unique())
        elif table == "events":
            self._used.append(rows.column("item").unique())

    def ids(self) -> pa.Array:
        parts = self._listed or self._used
        return pa.concat_arrays(parts) if parts else pa.array([], pa.string())


class _Meter:
    """Turns what reading and applying have done into one steady progress."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total, self._progress = total, progress
        self._bytes = 0  # of finished files
        self._rows = 0
        self._file_rows = 0

    def reading(self, done: int, rows: int) -> None:
        self._file_rows = rows
        self._tell(done * READING_SHARE, rows * READING_SHARE)

    def applying(self, share: float, size: int) -> None:
        share = READING_SHARE + (1 - READING_SHARE) * share
        self._tell(size * share, self._file_rows * share)

    def finished(self, size: int, rows: int) -> None:
        self._bytes += size
        self._rows += rows
        self._tell(0, 0)

    def _tell(self, done: float, rows: float) -> None:
        if self._progress is not None:
            self._progress(int(self._bytes + done), self._total, int(self._rows + rows))


def _sums(parts: Iterator[dict[str, int]]) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for part in parts:
        sums.update(part)
    return dict(sums)
