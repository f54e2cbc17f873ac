"""`nichegraph load`: files into the store; `nichegraph loads`: list loads, take one back."""

import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from api.bootstrap import (
    erase_again,
    note,
    now,
    on_disk_of,
    open_carrier,
    open_home,
    open_journal,
    open_store,
)
from api.cli.output import progress, say, show_json, show_table
from api.settings import Settings, load_settings
from graph.errors import InputError, StoreAway

if TYPE_CHECKING:
    from graph.store import GraphStore
    from loaders.format import Options, Part
    from recommender.inbox.journal import Journal

loads = typer.Typer(help="What was loaded, and how to take it back.", no_args_is_help=True)
Separators = Annotated[
    list[str] | None,
    typer.Option(
        help="Between cells (default: recognised from the file), or between the entries of a "
        "list column, such as tags=, or domains='>'; may be repeated."
    ),
]
Header = Annotated[bool, typer.Option(help="Whether the first line names columns.")]
Encoding = Annotated[str, typer.Option(help="Encoding of text files.")]
Kind = Annotated[str | None, typer.Option(help="Kind of events whose rows name none.")]
ListSeparator = Annotated[
    str | None,
    typer.Option(
        help="Separator of tags or domains in a cell; default: recognised from the cells."
    ),
]
Quotes = Annotated[
    str,
    typer.Option("--quote", help="none: quotes are ordinary text; auto: recognised from the file."),
]
WAIT_SECONDS = 60.0  # for a running server to write what it acknowledged into the store
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    cli.command("load")(load)
    loads.command("list")(list_loads)
    loads.command("undo")(undo)
    cli.add_typer(loads, name="loads")


def load(
    ctx: typer.Context,
    paths: Annotated[list[Path], typer.Argument(help="Files or folders.")],
    format_name: Annotated[
        str, typer.Option("--format", help="table, or that of a public data set or a tracker.")
    ] = "table",
    table: Annotated[
        str,
        typer.Option(help="What the rows are: events, items, item_relations, user_relations …"),
    ] = "events",
    column: Annotated[
        list[str] | None,
        typer.Option(
            help="FIELD=NAME or FIELD=POSITION (from 1); attr:NAME=COLUMN or "
            "attr:NAME:TYPE=COLUMN makes an attribute; may be repeated."
        ),
    ] = None,
    separator: Separators = None,
    quote: Quotes = "auto",
    header: Header = True,
    encoding: Encoding = "utf-8",
    kind: Kind = None,
    list_separator: ListSeparator = None,
    attributes: Annotated[
        str, typer.Option(help="Other columns to keep as attributes, separated by commas, or all.")
    ] = "",
    ordered: Annotated[
        bool,
        typer.Option("--ordered", help="Rows or lists have no times, but are in order of time."),
    ] = False,
    part: Annotated[
        str, typer.Option(help="Part of a data set to load: all, events or items.")
    ] = "all",
    max_rejects: Annotated[
        float | None, typer.Option(help="Share of rejected rows above which the load stops.")
    ] = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Let the files replace what was stored: docs/loading.md."),
    ] = False,
    max_hidden: Annotated[
        float | None, typer.Option(help="Share of the shown items that --replace may hide.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be loaded, and load nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Load files into the store. Loading them again changes nothing. A running server sees them.

    \b
    nichegraph load plays.csv --column user=listener --column item=track --dry-run
    nichegraph load tracks.csv --table items --column id=track --column tags=genres
    nichegraph load citeulike-a/ --format citeulike
    """
    settings = load_settings(ctx.obj, max_rejects=max_rejects, max_hidden=max_hidden)
    options = options_of(
        table=table,
        column=column,
        separator=separator,
        quote=quote,
        header=header,
        encoding=encoding,
        kind=kind,
        list_separator=list_separator,
        attributes=attributes,
        ordered=ordered,
        part=part,
    )
    from loaders.ingest import format_named

    format_named(format_name)
    for path in paths:
        if not path.exists():  # before a home is made for nothing
            raise InputError(f"{path}: there is no such file or folder")
    if dry_run:
        report = _dry(settings, paths, format_name, options, replace)
    else:
        home = open_home(settings, make=True)
        from recommender.inbox.announcing import load_into

        rejects = home.rejects / f"{now()}.csv"
        with (
            on_disk_of(home),
            closing(open_store(settings)) as store,
            closing(open_journal(settings)) as journal,
        ):
            erase_again(settings, store)
            carry = open_carrier(settings, journal, store)
            with load_into(store, journal, now=now(), carry=carry) as target:
                report = _load(
                    settings, paths, format_name, options, replace, target, home.staging, rejects
                )
        note(home, "load", load=report["load"], rows=report["rows"])
    if as_json:
        show_json(report)
    else:
        _show(report)
    if report["load"] is None and not dry_run:
        raise InputError("not a single row was accepted, so nothing was loaded")


def _dry(
    settings: Settings, paths: list[Path], format_name: str, options: "Options", replace: bool
) -> dict[str, Any]:
    """The report of a load that loads nothing; a home that is not there is not made."""
    store = open_store(settings) if settings.home.is_dir() else None
    try:
        with tempfile.TemporaryDirectory(prefix="nichegraph-dry-") as folder:
            aside = Path(folder)
            rejects = aside / "rejects.csv"
            report = _load(
                settings, paths, format_name, options, replace, store, aside, rejects, dry=True
            )
            return report | {"rejects_file": None}
    finally:
        if store is not None:
            store.close()


def _load(
    settings: Settings,
    paths: list[Path],
    format_name: str,
    options: "Options",
    replace: bool,
    store: "GraphStore | None",
    staging: Path,
    rejects: Path,
    *,
    dry: bool = False,
) -> dict[str, Any]:
    from dataclasses import replace as with_

    from graph.weighting_file import load_weighting
    from loaders.ingest import load as load_files
    from loaders.registry import hinted
    from recommender.releases.home import Home

    scale = load_weighting(Home(settings.home).weighting).rating_scale
    with progress("load") as tell, hinted(paths, format_name):
        return load_files(
            paths,
            format_name,
            store,
            staging_folder=staging,
            rejects_file=rejects,
            now=now(),
            options=with_(options, scale=scale),
            max_rejects=settings.max_rejects,
            max_rejects_kept=settings.max_rejects_kept,
            max_unpacked_bytes=settings.max_unpacked_bytes,
            max_hidden=settings.max_hidden,
            replace=replace,
            dry_run=dry,
            progress=tell,
        ).as_dict()


def list_loads(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the loads, each with its number."""
    store = open_store(load_settings(ctx.obj))
    try:
        known = store.loads()
    finally:
        store.close()
    if as_json:
        show_json([vars(each) for each in known])
        return
    rows = []
    for each in known:
        files = each.about.get("files", [])
        names = ", ".join(Path(file["file"]).name for file in files[:3])
        more = f" and {len(files) - 3} more" if len(files) > 3 else ""
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(each.at))
        count = sum(file["rows"] for file in files)
        rows.append([each.load, moment, names + more, count, "undone" if each.undone else ""])
    show_table("", ["load", "at (UTC)", "files", "rows", ""], rows)


def _wait_for_drainer(journal: "Journal", store: "GraphStore") -> None:
    """Wait until a server that runs here has written what it acknowledged into the store.

    Raises:
        StoreAway: it did not within WAIT_SECONDS.
    """
    from recommender.inbox.drain import caught_up, lease

    ends = time.monotonic() + WAIT_SECONDS
    while (last := journal.last_sequence()) and caught_up(journal, store)[0] < last:
        with lease(journal.path) as alone:
            if alone:
                return
        if time.monotonic() > ends:
            raise StoreAway(
                "the running server has acknowledged writes that are not in the store yet and may "
                "belong to this load; undo it when `nichegraph status` shows that nothing waits"
            )
        time.sleep(0.05)


def undo(
    ctx: typer.Context,
    load: Annotated[int, typer.Argument(help="Number of the load, see `loads list`.")],
    as_json: AsJson = False,
) -> None:
    """Take back a load.

    A running server stops using it at once; the next refresh learns without it.

    \b
    nichegraph loads undo 3
    """
    from recommender.inbox.announcing import undo_load

    settings = load_settings(ctx.obj)
    home = open_home(settings)
    with closing(open_store(settings)) as store, closing(open_journal(settings)) as journal:
        _wait_for_drainer(journal, store)
        erase_again(settings, store)
        carry = open_carrier(settings, journal, store)
        gone = undo_load(store, journal, load, now=now(), carry=carry)
    note(home, "load undone", load=load)
    if as_json:
        show_json({"load": load, "taken_back": gone})
        return
    counted = ", ".join(
        f"{count:,} {name}" for name, count in gone.items() if count and name not in AFTERWARDS
    )
    say(
        f"load {load} was undone: {counted or 'nothing was left of it'}; refresh to learn "
        "without it"
    )
    if gone["shown"]:
        say(f"shown again: {gone['shown']:,} items that it had hidden")
    if gone["changed"]:
        say(
            f"note: {gone['changed']:,} facts had been loaded before with other values, and these "
            "are gone as well; load the earlier files again"
        )


AFTERWARDS = ("shown", "changed")


def options_of(
    *,
    table: str,
    column: list[str] | None,
    separator: list[str] | None,
    header: bool,
    encoding: str,
    kind: str | None,
    list_separator: str | None,
    part: str,
    quote: str = "auto",
    attributes: str = "",
    ordered: bool = False,
) -> "Options":
    """What the options of a command line say about files.

    Raises:
        InputError: one of them does not fit; the message names it.
    """
    from loaders.columns import LISTS  # brings pandas, which most commands never need
    from loaders.format import Options

    if part not in ("all", "events", "items"):
        raise InputError(f"--part: {part!r} is not one of all, events, items")
    if quote not in ("auto", "none"):
        raise InputError(f"--quote: {quote!r} is neither auto nor none")
    columns: dict[str, str | int] = {}
    for pair in column or []:
        field, equals, name = pair.partition("=")
        if not (field and equals and name):
            raise InputError(f"--column: {pair!r} is not FIELD=NAME, such as user=listener")
        columns[field] = name
    between: str | None = None
    separators: dict[str, str] = {}
    for text in separator or []:
        field, _, own = text.partition("=")
        if own and field.split(":")[0] in LISTS:
            separators[field] = own.replace("\\t", "\t")
        elif between is not None:
            raise InputError(
                f"--separator: both {between!r} and {text!r} are for all cells; give one"
            )
        else:
            between = text.replace("\\t", "\t")
    named = tuple(filter(None, (name.strip() for name in attributes.split(","))))
    return Options(
        table=table,
        columns=columns,
        separator=between,
        separators=separators,
        quotes=quote != "none",
        header=header,
        encoding=encoding,
        kind=kind,
        list_separator=list_separator,
        attributes="all" if attributes.strip() == "all" else named,
        ordered=ordered,
        part=cast("Part", part),
    )


def _show(report: dict[str, Any]) -> None:
    from loaders.understood import Understood

    before: list[str] = []
    for file in report["files"]:
        lines = Understood(**file["understood"]).lines()
        if lines != before:  # files of a folder are mostly alike
            say(f"{file['file']}: {file['rows']:,} rows")
            for line in lines:
                say(f"  {line}")
        before = lines
    rows = [
        [table, count, report["duplicates"].get(table, 0), report["totals"].get(table, 0)]
        for table, count in report["stored"].items()
    ]
    if report["dry_run"]:
        show_table("", ["table", "would be loaded", "repeated"], [row[:3] for row in rows])
    else:
        show_table("", ["table", "loaded", "repeated", "in the store"], rows)
    say(f"{report['rows']:,} rows in {report['seconds']} s, {report['rows_per_second']:,} rows/s")
    where = f" (see {report['rejects_file']})" if report["rejects_file"] else ""
    for reason, count in report["rejected"].items():
        hint = f"; {report['hints'][reason]}" if reason in report["hints"] else ""
        say(f"rejected: {count:,} rows, {reason}{where}{hint}")
    for row in report["rejected_examples"]:
        say(f"  line {row['line']}: {row['reason']}: {row['row']}")
    if report["self_relations"]:
        say(f"dropped: {report['self_relations']:,} relations of an item or user with itself")
    for outlier in report["outliers"]:
        user, events = outlier["user"], outlier["events"]
        say(f"unusual: user {user} has {events:,} events, 1,000 times the median")
    if report["hidden"]:
        say(f"hidden: {report['hidden']:,} items that these files do not name")
    if report["dry_run"]:
        say("nothing was loaded, as --dry-run says")
    elif report["load"] is not None:
        say(f"this is load {report['load']}; `nichegraph loads undo {report['load']}` undoes it")
