"""`nichegraph explore`: query the graph in Cypher."""

import csv
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from api.bootstrap import open_console
from api.cli.output import plain, say, show_json, show_table
from api.settings import Settings, load_settings
from graph.errors import InputError
from graph.explore.console import QueryResult
from graph.explore.cypher_times import shown
from graph.explore.drawing import draw
from graph.explore.questions import Question, filled, question, questions
from recommender.releases.home import Home

FORMATS = ("table", "json", "csv")


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("explore")(explore)


def explore(
    ctx: typer.Context,
    query: Annotated[
        str | None,
        typer.Argument(help="Query in Cypher; without it, a prompt opens.", show_default=False),
    ] = None,
    show_list: Annotated[
        bool, typer.Option("--list", help="Show the ready-made questions.")
    ] = False,
    ask: Annotated[
        str | None, typer.Option("--question", "-q", help="Ask a ready-made question by name.")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", help="A parameter, as name=value; may be repeated."),
    ] = None,
    format_name: Annotated[str, typer.Option("--format", help="table, json or csv.")] = "table",
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Draw the result into this .svg or .png.")
    ] = None,
    pseudonyms: Annotated[
        bool, typer.Option("--pseudonyms", help="Show users as pseudonyms, as others see them.")
    ] = False,
) -> None:
    """Query the graph in Cypher; queries can only read.

    \b
    nichegraph explore --list
    nichegraph explore --question hubs --param limit=5
    nichegraph explore 'MATCH (t:Tag)<-[:HAS_TAG]-(i) RETURN t.name, count(i) AS n LIMIT 9'
    nichegraph explore --question neighbourhood -p user=alice --picture alice.svg
    """
    if format_name not in FORMATS:
        raise InputError(f"--format {format_name}: there are {', '.join(FORMATS)}")
    if show_list:
        show_questions(format_name)
        return
    named = parameters(param or [])
    settings = load_settings(ctx.obj)
    console = open_console(settings)
    try:
        if query is None and ask is None:
            from api.cli.prompt import Prompt

            Prompt(console, release_times(settings), typed(named), privacy=not pseudonyms).run()
            return
        if ask is not None:
            chosen = question(ask)
            values = filled(chosen, named, release_times(settings))
            result = console.run(chosen.query, values, privacy=not pseudonyms)
            if format_name == "table":
                say_examples(chosen, named, values)
        else:
            result = console.run(str(query), typed(named), privacy=not pseudonyms)
        show(result, format_name)
        if picture is not None:
            say(f"{draw(result.rows, picture)} nodes drawn into {picture}")
    finally:
        console.close()


def release_times(settings: Settings) -> dict[str, int]:
    """When each release of the home was made, from the first to the last."""
    from recommender.releases.publishing import list_releases  # a query needs none of it

    releases = list_releases(Home(settings.home))
    return {
        release["name"]: int(release["created_at"])
        for release in releases
        if release.get("created_at")
    }


def say_examples(chosen: Question, named: Mapping[str, str], values: Mapping[str, Any]) -> None:
    """Say which of its example values a question was asked with, if they name something."""
    own = {
        name: shown(value) if name in chosen.times else value
        for name, value in values.items()
        if name not in named and (isinstance(value, str) or name in chosen.times)
    }
    if own:
        example = ", ".join(f"{name}={value}" for name, value in own.items())
        say(f"example used: {example}; -p {next(iter(own))}=… chooses another")


def parameters(texts: Iterable[str], option: str = "--param") -> dict[str, str]:
    """Names and values from the `name=value` texts of an option."""
    pairs = [text.partition("=") for text in texts]
    for name, equals, _ in pairs:
        if not equals:
            raise InputError(f"{option} {name}: write it as name=value")
    return {name: value for name, _, value in pairs}


def typed(texts: dict[str, str]) -> dict[str, Any]:
    """Values that are JSON (3, true, ["a"]) are parsed, all others stay text."""
    made: dict[str, Any] = {}
    for name, text in texts.items():
        try:
            made[name] = orjson.loads(text)
        except orjson.JSONDecodeError:
            made[name] = text
    return made


def show(result: QueryResult, format_name: str) -> None:
    """Print a result as a table, one JSON object, or CSV that opens safely in a spreadsheet."""
    if format_name == "json":
        show_json({"columns": result.columns, "rows": result.rows, "truncated": result.truncated})
        return
    if format_name == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow([_harmless(name) for name in result.columns])
        writer.writerows([_harmless(_text(value)) for value in row] for row in _dated(result))
        return
    rows = [[v if isinstance(v, int | float) else _text(v) for v in row] for row in _dated(result)]
    show_table("", result.columns, rows)
    cut = ", cut off at the limit" if result.truncated else ""
    say(f"{len(result.rows):,} rows{cut}, {result.ms:,.0f} ms")


def _dated(result: QueryResult) -> Iterator[list[Any]]:
    """The rows with seconds since 1970 as dates, where a column holds times."""
    times = result.times or (False,) * len(result.columns)
    for row in result.rows:
        yield [_date(value) if time else value for value, time in zip(row, times, strict=True)]


def _date(value: Any) -> Any:
    if isinstance(value, list):
        return [_date(entry) for entry in value]
    return shown(value) if isinstance(value, int | float) else value


def show_questions(format_name: str) -> None:
    """Print the ready-made questions."""
    all_questions = questions().values()
    if format_name == "json":
        show_json(
            [
                {
                    "name": shown_question.name,
                    "title": shown_question.title,
                    "sentence": shown_question.sentence,
                    "parameters": examples(shown_question),
                    "query": shown_question.query,
                }
                for shown_question in all_questions
            ]
        )
        return
    rows = [
        [
            shown_question.name,
            shown_question.sentence,
            " ".join(f"{k}={v}" for k, v in examples(shown_question).items()),
        ]
        for shown_question in all_questions
    ]
    show_table("", ["name", "what it tells", "parameters, with an example"], rows)


def examples(chosen: Question) -> dict[str, Any]:
    """The values a question is asked with if none are given; times as dates."""
    return {
        name: shown(value) if name in chosen.times else value
        for name, value in chosen.parameters.items()
    }


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
            properties = value["properties"]
            name = (
                properties.get("title")
                or properties.get("name")
                or properties.get("id")
                or value["node"]
            )
            return f"({value['label']} {name})"
        if "relationship" in value:
            return f"-{value['type']}-"
    return orjson.dumps(value).decode()


def _harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula, without control characters."""
    return plain(f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text)
