"""Loads files into a store: reads, checks and stages each, and applies it at its end.

Nothing of a file reaches the store before the whole file has been read and its share of rejected
rows is acceptable. It is applied in transactions of 100,000 upserts. So a load that is killed at
any moment and run again gives the same graph, and so does loading the same file twice.
"""

import dataclasses
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from graph.errors import InputError, TooManyRejects
from graph.store import GraphStore
from loaders.checking import checked
from loaders.duplicates import UserCounts
from loaders.format import Format, Options, Source
from loaders.lines import MOST_UNPACKED
from loaders.merging import KnownAttributes
from loaders.reasons import HINTS
from loaders.records import Chunk
from loaders.registry import FORMATS
from loaders.rejects import RejectsFile
from loaders.replacing import Named, everything_named
from loaders.report import MOST_EXAMPLES, FileReport, LoadReport
from loaders.staging import Stage, staging

CHECKED_AFTER = 10_000  # after so many rows the share of rejects is watched
SHOWN_ITEMS = 2_000  # items of a file whose attributes are compared with ids of users
NAMING_SHARE = 0.5
READING_SHARE = 0.2  # share of the work on a file that is reading; the rest is applying

Progress = Callable[[int, int, int], None]
"""Called with bytes done, bytes in all and rows done; in the last call all bytes are done."""


def load(
    paths: Sequence[Path],
    format_name: str,
    store: GraphStore | None,
    *,
    staging_folder: Path,
    rejects_file: Path,
    now: int,
    options: Options | None = None,
    max_rejects: float = 0.05,
    max_rejects_kept: int = 100_000,
    max_unpacked_bytes: int = MOST_UNPACKED,
    max_hidden: float = 0.1,
    replace: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> LoadReport:
    """Load files one by one, and report what became of every row.

    Args:
        paths: files or folders.
        format_name: a name of `loaders.registry.FORMATS`.
        store: takes the rows; a dry run can do without.
        staging_folder: made if missing; holds one file's checked rows, about 30 bytes each.
        rejects_file: CSV of the rejected rows; written only if there are any.
        now: seconds since 1970; times more than a day later are rejected.
        options: what else is given about the files.
        max_rejects: acceptable share of rejected rows of a file, from 0 to 1.
        max_rejects_kept: most rows in the file of rejects.
        max_unpacked_bytes: most bytes that may come out of one file when it is unpacked.
        max_hidden: acceptable share of the items now shown that a replacing load may hide.
        replace: in the tables that these files fill, the stored facts of each item, user or
            relation's source that they name are replaced, see `loaders.replacing`.
        dry_run: the files are read and checked, and nothing is loaded.
        progress: called with the bytes done, the bytes in all and the rows done.

    Raises:
        InputError: an unknown format, a file that is missing, damaged or of another format, or
            no rows at all.
        TooManyRejects: nothing of the file at fault was applied; files before it were.
        LoadRefused: a replacing load would hide too many items; nothing was applied.
    """
    began = time.perf_counter()
    chosen = format_named(format_name)
    options = options or Options()
    sources = _sources(chosen, paths, options, max_unpacked_bytes)
    sizes = [source.path.stat().st_size for source in sources]
    meter = _Meter(sum(sizes), progress)
    report = LoadReport(chosen.name, dry_run=dry_run)
    users = UserCounts()
    known: KnownAttributes | None = None
    named = None
    if replace:
        named = everything_named(chosen, sources, options, now)
        named.check(store, chosen.name, max_hidden)
    with staging(staging_folder) as folder, RejectsFile(rejects_file, max_rejects_kept) as rejects:
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
                for name in _naming_users(report.shown, store):
                    file.warn(
                        f"the attribute {name!r} holds ids of users; attributes of items are shown "
                        "to everybody: leave it out of --attributes"
                    )
                report.shown.clear()
                if store is not None and file.stored and not dry_run:
                    _begin(report, store, named, now)
                    known = known or KnownAttributes(store)
                    _apply(
                        stage, store, report, meter,
                        users=users, named=named, known=known, size=size,
                    )  # fmt: skip
            meter.finished(size, file.rows)
        if not report.rows:
            raise InputError(f"{', '.join(map(str, paths)) or 'no file'}: there is no row to load")
        if store is not None and named is not None and not dry_run:
            report.hidden = named.hide_missing(store, report.load or 0)
        report.rejects_file = str(rejects.path) if rejects.rows else None
    if store is not None:
        report.outliers = users.outliers()
        report.totals = store.counts()
        if report.load is not None:
            store.note_load(report.load, report.about())
    report.seconds = time.perf_counter() - began
    return report


def read_tables(
    paths: Sequence[Path], format_name: str, *, now: int, options: Options | None = None
) -> tuple[dict[str, pa.Table], Counter[str]]:
    """All checked rows of files as one table each, in memory, and the rejects by reason.

    For parts of an evaluation. Tables that the files do not fill are missing.
    """
    chosen = format_named(format_name)
    options = options or Options()
    tables: dict[str, list[pa.Table]] = {}
    reasons: Counter[str] = Counter()
    for source in _sources(chosen, paths, options):
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
        raise InputError(f"there is no format {name!r}; there are {', '.join(FORMATS)}")
    return FORMATS[name]


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
    if chunk.understood is not None:
        file.understood = chunk.understood.as_dict()
    for warning in chunk.warnings:
        file.warn(warning)
    rejected = list(chunk.rejected)
    for table, good, wrong, loops in checked(chunk, now):
        if replace and table == "items":  # items that a replacing load names are shown again
            shown = good.column("hidden").fill_null(False)
            good = good.set_column(good.column_names.index("hidden"), "hidden", shown)  # noqa: PLW2901
        stage.add(table, good)
        if table == "items" and len(report.shown) < SHOWN_ITEMS:
            report.shown += good.column("attributes").drop_null().slice(0, SHOWN_ITEMS).to_pylist()
        rejected += wrong
        report.self_relations += loops
    file.rejected += len(rejected)
    report.rejected.update(reject.reason for reject in rejected)
    room = MOST_EXAMPLES - len(report.examples)
    report.examples += [{"file": file.file, **vars(reject)} for reject in rejected[: max(room, 0)]]
    rejects.write(file.file, rejected)


def _bear(file: FileReport, report: LoadReport, rejects: RejectsFile, max_rejects: float) -> None:
    if file.rejected <= max_rejects * file.rows:
        return
    reason, rows = report.rejected.most_common(1)[0]
    hint = f": {HINTS[reason]}" if reason in HINTS else ""
    raise TooManyRejects(
        f"{file.file}: {file.rejected:,} of the first {file.rows:,} rows were rejected, more than "
        f"{max_rejects:.0%}; most often: {reason} ({rows:,}){hint}. Nothing of this file was "
        f"loaded. See {rejects.path}; check format, columns and encoding, or allow a larger share"
    )


def _naming_users(shown: list[str], store: GraphStore | None) -> list[str]:
    """Attributes whose texts are mostly ids of users; small numbers could be that by chance."""
    values: dict[str, set[str]] = {}
    for attributes in shown:
        for name, value in json.loads(attributes).items():
            if isinstance(value, str) and not value.isdecimal():
                values.setdefault(name, set()).add(value)
    if store is None or not values:
        return []
    users = pc.unique(store.read("users").column("id").cast(pa.string()))
    known = {
        name: pc.sum(pc.is_in(pa.array(sorted(texts)), users)).as_py() / len(texts)
        for name, texts in values.items()
    }
    return [name for name, share in known.items() if share > NAMING_SHARE]


def _begin(report: LoadReport, store: GraphStore, named: Named | None, now: int) -> None:
    """Give the load its number, and make room for what it replaces."""
    if report.load is None:
        report.load = store.begin_load(now, report.about())
        if named is not None:
            named.make_room(store, report.load)


def _apply(
    stage: Stage,
    store: GraphStore,
    report: LoadReport,
    meter: "_Meter",
    *,
    users: UserCounts,
    named: Named | None,
    known: KnownAttributes,
    size: int,
) -> None:
    rows = sum(stage.rows.values())
    done = 0
    load = report.load or 0
    for table, rows_of_it in stage.batches():
        batch = rows_of_it if named else known.with_known(table, rows_of_it)
        store.apply({table: batch}, clear=named.gone(table, batch) if named else None, load=load)
        done += batch.num_rows
        if table == "events":
            users.add(batch.column("user"))
        meter.applying(done / rows, size)
    store.note_load(load, report.about())


def _sources(
    chosen: Format, paths: Sequence[Path], options: Options, most_bytes: int = MOST_UNPACKED
) -> list[Source]:
    """The files of a load, in reading order."""
    sources = [
        dataclasses.replace(source, most_bytes=most_bytes)
        for path in paths
        for source in chosen.sources(path, options)
    ]
    return chosen.together(sources, options)


class _Meter:
    """Joins the progress of reading and of applying into one steady progress."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total, self._progress = total, progress
        self._bytes = 0  # bytes of finished files
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
