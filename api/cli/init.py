"""`nichegraph init`: look at files, ask five questions, write the settings and say what to do."""

import json
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from api.bootstrap import check_store, now
from api.cli.output import plain, say, show_json
from api.settings import DEFAULT_HOME, load_settings
from graph.durable import replace_file
from graph.errors import InputError, NichegraphError

TABLES = ("events", "items", "item_relations", "users")  # in the order in which they are tried
SETTINGS = """\
# Settings of this catalogue. What is commented out is the default; docs/settings.md lists all.

# Where the graph lives: "embedded" is one file in this folder, else the URI of a Neo4j server.
store = {store}
{password}
# How many of the newest releases a refresh keeps; 0: all.
# keep_releases = 5

# Threads of a refresh; with 1 the same data and seed give the same bytes.
# refresh_threads = 2

# The server: where it listens, and with how many processes.
# host = "127.0.0.1"
# port = 8000
# workers = 2

# How the files were understood. Loading them again changes nothing:
{commands}
"""


@dataclass
class Proposal:
    """How a file is to be loaded."""

    path: Path
    table: str
    rows: int
    columns: dict[str, str]  # field -> column of the file
    ignored: list[str] = field(default_factory=list)
    mapped: dict[str, str] = field(default_factory=dict)  # field -> column, as somebody named it
    kind: str | None = None

    def command(self) -> str:
        """The line that loads it."""
        words = ["nichegraph", "load", str(self.path)]
        words += ["--table", self.table] if self.table != "events" else []
        for column, name in self.mapped.items():
            words += ["--column", f"{column}={name}"]
        words += ["--kind", self.kind] if self.kind else []
        return shlex.join(words)


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("init")(init)


def init(
    ctx: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="CSV, TSV, JSON lines or Parquet.")],
    user: Annotated[str | None, typer.Option(help="Column with the user.")] = None,
    item: Annotated[str | None, typer.Option(help="Column with the item.")] = None,
    at: Annotated[str | None, typer.Option(help="Column with the time, or none.")] = None,
    kind: Annotated[str | None, typer.Option(help="What users did: view, play, like …")] = None,
    store: Annotated[
        str | None, typer.Option(help="embedded, or the URI of a Neo4j server.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing; accept every proposal.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Begin a catalogue from files.

    Looks at their columns, proposes how to read them, and writes settings.
    Asks for the columns of user, item and time, what people did, and where the graph is to live;
    what is given as an option, or with --yes, is not asked. Loads nothing.

    \b
    nichegraph init plays.csv tracks.csv
    nichegraph --home records init plays.csv --user listener --kind play --store embedded --yes
    """
    home = Path(ctx.obj or load_settings().home or DEFAULT_HOME)
    path = home / "settings.toml"
    if path.exists():
        raise InputError(f"{path} already exists: edit it, or name another home with --home")
    proposals = [proposed(file, {"user": user, "item": item, "at": at}) for file in files]
    ask = not (yes or as_json) and sys.stdin.isatty()
    for proposal in proposals:
        if not as_json:
            _show(proposal)
        if proposal.table == "events":
            proposal.mapped |= _columns_asked(proposal, {"user": user, "item": item, "at": at}, ask)
            proposal.kind = kind or _kind_asked(proposal, ask)
    where = store or (
        typer.prompt("Where should the graph be kept: embedded, or bolt://…", default="embedded")
        if ask else "embedded"
    )  # fmt: skip
    check_store(where)
    for proposal in proposals:
        _examined(proposal.path, proposal.table, proposal.mapped, proposal.kind)
    commands = [proposal.command() for proposal in proposals]
    home.mkdir(parents=True, exist_ok=True)
    replace_file(path, settings_text(where, commands))
    load_settings(home)  # what was written can be read, or says why not
    prefix = "" if home == DEFAULT_HOME else f" --home {shlex.quote(str(home))}"
    then = [command.replace("nichegraph", f"nichegraph{prefix}", 1) for command in commands]
    then += [f"nichegraph{prefix} refresh", f"nichegraph{prefix} serve"]
    if as_json:
        show_json({"settings": str(path), "then": then})
        return
    say(f"wrote {path}; now:")
    for line in then:
        say(f"  {line}")


def proposed(path: Path, options: dict[str, str | None]) -> Proposal:
    """What a file is taken for: the first table that its columns fit.

    Raises:
        InputError: they fit none; says what was missing for events.
    """
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder")
    first: NichegraphError | None = None
    for table in TABLES:
        columns = options if table == "events" else {}
        mapped = {name: value for name, value in columns.items() if value and value != "none"}
        try:
            facts = _examined(path, table, mapped, None)
        except NichegraphError as error:
            first = first or error
            continue
        return Proposal(path, table, facts["rows"], facts["columns"], facts["ignored"], mapped)
    raise InputError(f"{path} fits no table; as events: {first}")


def settings_text(store: str, commands: Sequence[str]) -> str:
    """A commented settings file."""
    password = "" if store == "embedded" else (
        '# The password is better kept in a file that only the server can read.\n'
        '# neo4j_user = "neo4j"\n# neo4j_password_file = "neo4j.password"\n'
    )  # fmt: skip
    lines = "\n".join(f"#   {plain(command)}" for command in commands)
    return SETTINGS.format(store=json.dumps(store), password=password, commands=lines)


def _examined(path: Path, table: str, mapped: dict[str, str], kind: str | None) -> dict[str, Any]:
    """How a load would understand the file; nothing is loaded."""
    from api.cli.load import options_of
    from loaders.ingest import load

    pairs = [f"{name}={column}" for name, column in mapped.items()]
    options = options_of(
        table=table, column=pairs, separator=None, header=True, encoding="utf-8", kind=kind,
        list_separator=None, part="all",
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="nichegraph-init-") as folder:
        report = load(
            [path], "table", None, staging_folder=Path(folder),
            rejects_file=Path(folder) / "rejects.csv", now=now(), options=options, dry_run=True,
            max_rejects=1.0,
        ).as_dict()  # fmt: skip
    understood = report["files"][0]["understood"]
    if report["rows"] and sum(report["rejected"].values()) >= report["rows"]:
        raise InputError(f"{path}: not one of {report['rows']:,} rows can be read as {table}")
    return {
        "rows": report["rows"],
        "columns": dict(understood.get("columns", {})),
        "ignored": list(understood.get("ignored", [])),
    }


def _show(proposal: Proposal) -> None:
    named = ", ".join(f"{name} = {column}" for name, column in proposal.columns.items())
    say(f"{proposal.path}: {proposal.rows:,} rows of {proposal.table}; {named}")
    if proposal.ignored:
        say(f"  left out: {', '.join(proposal.ignored)}")


def _columns_asked(proposal: Proposal, options: dict[str, str | None], ask: bool) -> dict[str, str]:
    """The columns for which somebody did not take the proposal."""
    questions = {"user": "Who did it", "item": "What it was done to", "at": "When"}
    changed = {}
    for name, question in questions.items():
        own = proposal.columns.get(name, "none")
        if ask and options[name] is None:
            column = typer.prompt(f"{question}: which column", default=own)
            if column not in (own, "none"):
                changed[name] = column
    return changed


def _kind_asked(proposal: Proposal, ask: bool) -> str | None:
    """What people did, where no column says so; a column of ratings does."""
    if not ask or {"kind", "value"} & set(proposal.columns):
        return None
    kind: str = typer.prompt("What did they do (view, play, like, purchase …)", default="view")
    return None if kind == "view" else kind
