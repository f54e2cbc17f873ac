"""`nichegraph explore`: ask the graph in Cypher."""

import csv
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from api.bootstrap import open_console
from api.cli.output import plain, say, show_json, show_table
from api.settings import load_settings
from graph.errors import InputError, NichegraphError
from graph.explore.console import Console, QueryResult
from graph.explore.drawing import draw
from graph.explore.questions import filled, question, questions

FORMATS = ("table", "json", "csv")
HELP = """A query is one line; it may end in a semicolon.
:list            the ready-made questions
:ask NAME k=v …  one of them
:draw FILE       the last result's graph as .svg or .png
:quit            leave"""
WORDS = (
    "MATCH OPTIONAL WHERE WITH UNWIND RETURN DISTINCT ORDER BY DESC SKIP LIMIT UNION EXISTS COUNT "
    "AND OR NOT IN STARTS ENDS CONTAINS CASE WHEN THEN ELSE END NULL count( collect( coalesce( "
    ":User :Item :Tag :Domain :Segment :INTERACTED :`IN` :HAS_TAG :KNOWS :RELATED :IN_SEGMENT "
    ":NEAR :list :ask :draw :quit"
)


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("explore")(explore)


def explore(
    ctx: typer.Context,
    query: Annotated[
        str | None, typer.Argument(help="Cypher; without it a prompt opens.", show_default=False)
    ] = None,
    show_list: Annotated[
        bool, typer.Option("--list", help="Show the ready-made questions.")
    ] = False,
    ask: Annotated[
        str | None, typer.Option("--question", "-q", help="Ask a ready-made question by name.")
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option("--param", "-p", help="A parameter, as name=value.")
    ] = None,
    how: Annotated[str, typer.Option("--format", help="table, json or csv.")] = "table",
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Draw the result into this .svg or .png.")
    ] = None,
    pseudonyms: Annotated[
        bool, typer.Option("--pseudonyms", help="See users as strangers see them.")
    ] = False,
) -> None:
    """Explore the graph in Cypher; queries can only read.

    \b
    nichegraph explore --list
    nichegraph explore --question hubs --param limit=5
    nichegraph explore 'MATCH (t:Tag)<-[:HAS_TAG]-(i) RETURN t.name, count(i) AS n LIMIT 9'
    nichegraph explore --question neighbourhood -p user=alice --picture alice.svg
    """
    if how not in FORMATS:
        raise InputError(f"--format {how}: there are {', '.join(FORMATS)}")
    if show_list:
        _list(how)
        return
    given = parameters(param or [])
    console = open_console(load_settings(ctx.obj))
    try:
        if query is None and ask is None:
            Prompt(console, privacy=not pseudonyms).run()
            return
        if ask is not None:
            asked = question(ask)
            result = console.run(asked.query, filled(asked, given), privacy=not pseudonyms)
        else:
            result = console.run(str(query), typed(given), privacy=not pseudonyms)
        show(result, how)
        if picture is not None:
            say(f"{draw(result.rows, picture)} nodes drawn into {picture}")
    finally:
        console.close()


def parameters(given: Iterable[str], option: str = "--param") -> dict[str, str]:
    """Names and values of `name=value` texts that an option was given."""
    pairs = [text.partition("=") for text in given]
    for name, equals, _ in pairs:
        if not equals:
            raise InputError(f"{option} {name}: write it as name=value")
    return {name: value for name, _, value in pairs}


def typed(given: dict[str, str]) -> dict[str, Any]:
    """Values that read as JSON (3, true, ["a"]) as what they are, all others as text."""
    made: dict[str, Any] = {}
    for name, text in given.items():
        try:
            made[name] = orjson.loads(text)
        except orjson.JSONDecodeError:
            made[name] = text
    return made


def show(result: QueryResult, how: str) -> None:
    """Print a result as a table, one JSON object, or CSV that opens safely in a spreadsheet."""
    if how == "json":
        show_json({"columns": result.columns, "rows": result.rows, "truncated": result.truncated})
        return
    if how == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow([_harmless(name) for name in result.columns])
        writer.writerows([_harmless(_text(value)) for value in row] for row in result.rows)
        return
    rows = [[v if isinstance(v, int | float) else _text(v) for v in row] for row in result.rows]
    show_table("", result.columns, rows)
    cut = ", cut short at the limit" if result.truncated else ""
    say(f"{len(result.rows):,} rows{cut}, {result.ms:,.0f} ms")


def _list(how: str) -> None:
    all_questions = questions().values()
    if how == "json":
        show_json(
            [
                {
                    "name": one.name,
                    "title": one.title,
                    "sentence": one.sentence,
                    "parameters": one.parameters,
                    "query": one.query,
                }
                for one in all_questions
            ]
        )
        return
    rows = [
        [one.name, one.sentence, " ".join(f"{k}={v}" for k, v in one.parameters.items())]
        for one in all_questions
    ]
    show_table("", ["name", "what it tells", "parameters, with an example"], rows)


def _text(value: Any) -> str:
    """A value as people read it: nodes by name, paths as arrows, the rest as JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        if "path" in value:
            return " ".join(_text(part) for part in value["path"])
        if "node" in value:
            said = value["properties"]
            name = said.get("title") or said.get("name") or said.get("id") or value["node"]
            return f"({value['label']} {name})"
        if "relationship" in value:
            return f"-{value['type']}-"
    return orjson.dumps(value).decode()


def _harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula, without control characters."""
    return plain(f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text)


class Prompt:
    """Reads queries one after the other, with history and completion."""

    def __init__(self, console: Console, *, privacy: bool) -> None:
        """Ask `console`; `privacy` shows users by name."""
        self._console, self._privacy = console, privacy
        self._last: QueryResult | None = None

    def run(self) -> None:
        """Until :quit or the end of the input."""
        read = self._reader()
        say("Cypher, reading only; :help says more, :quit leaves")
        while True:
            try:
                line = read().strip()
            except KeyboardInterrupt:
                continue
            except EOFError:
                return
            if line in (":quit", ":q", ":exit"):
                return
            try:
                self.answer(line)
            except NichegraphError as error:
                say(str(error))

    def answer(self, line: str) -> None:
        """Do what one line says and print what it gives."""
        word, _, rest = line.partition(" ")
        if not line:
            return
        if word == ":help":
            for part in HELP.splitlines():
                say(part)
        elif word == ":list":
            _list("table")
        elif word == ":draw":
            if self._last is None:
                raise InputError("there is no result yet")
            say(f"{draw(self._last.rows, Path(rest.strip()))} nodes drawn")
        elif word == ":ask":
            name, *given = rest.split() or [""]
            asked = question(name)
            self._ask(asked.query, filled(asked, parameters(given)))
        elif line.startswith(":"):
            raise InputError(f"{word} is unknown; :help says more")
        else:
            self._ask(line, {})

    def _ask(self, query: str, given: dict[str, Any]) -> None:
        self._last = self._console.run(query, given, privacy=self._privacy)
        show(self._last, "table")

    def _reader(self) -> Any:
        if not sys.stdin.isatty():
            return input
        from prompt_toolkit import PromptSession
        from prompt_toolkit.completion import WordCompleter
        from prompt_toolkit.history import FileHistory

        names = [*WORDS.split(), *questions()]
        history = FileHistory(str(self._console.folder / "history"))
        session: PromptSession[str] = PromptSession(
            history=history, completer=WordCompleter(names, ignore_case=True, WORD=True)
        )
        return lambda: session.prompt("cypher> ")
