"""`nichegraph load`: files into the store."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from api.bootstrap import now, open_home, open_store
from api.cli.output import progress, say, show_json, show_table
from api.settings import load_settings
from graph.errors import InputError

if TYPE_CHECKING:
    from loaders.format import Options, Part


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("load")(load)


def load(
    ctx: typer.Context,
    paths: Annotated[list[Path], typer.Argument(help="Files or folders.")],
    format_name: Annotated[
        str, typer.Option("--format", help="table, or the name of a public data set's format.")
    ] = "table",
    table: Annotated[
        str,
        typer.Option(help="What the rows are: events, items, item_relations, user_relations …"),
    ] = "events",
    column: Annotated[
        list[str] | None,
        typer.Option(help="FIELD=NAME or FIELD=POSITION (from 1); may be repeated."),
    ] = None,
    separator: Annotated[str | None, typer.Option(help="Default: seen from the file.")] = None,
    header: Annotated[bool, typer.Option(help="Whether the first line names columns.")] = True,
    encoding: Annotated[str, typer.Option(help="Of text files.")] = "utf-8",
    kind: Annotated[str | None, typer.Option(help="Of events that name none.")] = None,
    list_separator: Annotated[
        str, typer.Option(help="Between the tags or domains in one cell.")
    ] = "|",
    part: Annotated[str, typer.Option(help="Of a data set: all, events or items.")] = "all",
    max_rejects: Annotated[
        float | None, typer.Option(help="Share of rejected rows that stops the load.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Hide items that these files do not name.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Load files into the store; running it again changes nothing.

    \b
    nichegraph load plays.csv --column user=listener --column item=track
    nichegraph load tracks.csv --table items --column id=track --column tags=genres
    nichegraph load citeulike-a/ --format citeulike
    """
    from loaders.ingest import load as load_files

    settings = load_settings(ctx.obj, max_rejects=max_rejects)
    options = options_of(table, column, separator, header, encoding, kind, list_separator, part)
    home, moment = open_home(settings), now()
    store = open_store(settings)
    try:
        with progress("load") as tell:
            report = load_files(
                paths,
                format_name,
                store,
                staging_folder=home.staging,
                rejects_file=home.rejects / f"{moment}.csv",
                now=moment,
                options=options,
                max_rejects=settings.max_rejects,
                replace=replace,
                progress=tell,
            )
    finally:
        store.close()
    if as_json:
        show_json(report.as_dict())
    else:
        _show(report.as_dict())


def options_of(
    table: str,
    column: list[str] | None,
    separator: str | None,
    header: bool,
    encoding: str,
    kind: str | None,
    list_separator: str,
    part: str,
) -> "Options":
    """What the options of a command line say about files.

    Raises:
        InputError: one of them does not fit; the message names it.
    """
    from loaders.format import Options  # brings pandas, which most commands never need

    if part not in ("all", "events", "items"):
        raise InputError(f"--part: {part!r} is none of all, events, items")
    columns: dict[str, str | int] = {}
    for pair in column or []:
        field, equals, name = pair.partition("=")
        if not (field and equals and name):
            raise InputError(f"--column: {pair!r} is not FIELD=NAME, such as user=listener")
        columns[field] = int(name) if name.isdecimal() else name
    if separator is not None:
        separator = separator.replace("\\t", "\t")
    return Options(
        table=table,
        columns=columns,
        separator=separator,
        header=header,
        encoding=encoding,
        kind=kind,
        list_separator=list_separator,
        part=cast("Part", part),
    )


def _show(report: dict[str, Any]) -> None:
    rows = [
        [table, count, report["duplicates"].get(table, 0), report["totals"].get(table, 0)]
        for table, count in report["stored"].items()
    ]
    show_table("", ["table", "taken", "said twice", "in the store"], rows)
    say(f"{report['rows']:,} rows in {report['seconds']} s, {report['rows_per_second']:,} rows/s")
    for reason, count in report["rejected"].items():
        say(f"rejected: {count:,} rows, {reason} (see {report['rejects_file']})")
    if report["self_relations"]:
        say(f"dropped: {report['self_relations']:,} relations of something with itself")
    for one in report["outliers"]:
        say(f"unusual: user {one['user']} has {one['events']:,} events, 1,000 times the median")
    if report["hidden"]:
        say(f"hidden: {report['hidden']:,} items that these files do not name")
