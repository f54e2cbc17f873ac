"""`nichegraph evaluate`: how good the recommendations are, compared with simple baselines."""

import tempfile
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from api.bootstrap import now, open_home, open_store
from api.cli.load import Encoding, Header, Kind, ListSeparator, Quotes, Separators, options_of
from api.cli.output import say, show_json, show_table, step
from api.cli.refresh import config_of, with_settings
from api.settings import Settings, load_settings
from graph.errors import InputError

if TYPE_CHECKING:
    from recommender.evaluation.files import SplitFiles
    from recommender.learning.build import RefreshConfig

SPLITS = ("time", "random", "global time")


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("evaluate")(evaluate)


def evaluate(
    ctx: typer.Context,
    format_name: Annotated[
        str, typer.Option("--format", help="Format of the given files, as for load.")
    ] = "table",
    train: Annotated[
        list[Path] | None, typer.Option(help="Learn from this file; may be repeated.")
    ] = None,
    test: Annotated[
        list[Path] | None, typer.Option(help="Measure with this file; may be repeated.")
    ] = None,
    items: Annotated[
        list[Path] | None, typer.Option(help="File with titles, tags and domains; may be repeated.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            help="Columns of train and test: FIELD=NAME or FIELD=POSITION; may be repeated."
        ),
    ] = None,
    item_column: Annotated[
        list[str] | None,
        typer.Option(help="Columns of the item files: FIELD=NAME or FIELD=POSITION."),
    ] = None,
    separator: Separators = None,
    quote: Quotes = "auto",
    header: Header = True,
    encoding: Encoding = "utf-8",
    kind: Kind = None,
    list_separator: ListSeparator = None,
    ordered: Annotated[
        bool,
        typer.Option(
            "--ordered", help="Rows or lists have no times, but they are in order of time."
        ),
    ] = False,
    split: Annotated[
        str | None,
        typer.Option(
            help="How to split the store: time, random or 'global time'; "
            "default: by time if there are times.",
            show_default=False,
        ),
    ] = None,
    preset: Annotated[str, typer.Option(help="fast, default or graph.")] = "default",
    seed: Annotated[int, typer.Option(help="Seed of the split and of learning.")] = 0,
    baselines: Annotated[
        bool, typer.Option(help="Also tune and measure popularity, item kNN, EASE and GF-CF.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure how good the recommendations are.

    Holds back a part of the data, learns from the rest, and counts how much of it is found.

    \b
    On the store:  nichegraph evaluate --split random
    On files:      nichegraph evaluate --train train.csv --test test.csv --items films.csv
    """
    if not train and not test:
        if items:
            raise InputError("--items goes with --train and --test; the store has its own items")
        settings = load_settings(ctx.obj)
        config = with_settings(config_of(settings.home, preset, seed), settings)
        result = _on_store(settings, config, split, baselines)
    elif train and test:
        if split is not None:
            raise InputError("--split is for the store; --train and --test are a split already")
        from recommender.evaluation.files import SplitFiles

        form = partial(
            options_of,
            separator=separator,
            quote=quote,
            header=header,
            encoding=encoding,
            list_separator=list_separator,
            ordered=ordered,
        )
        options = form(table="events", column=column, kind=kind, part="events")
        item_options = form(table="items", column=item_column, kind=None, part="items")
        files = SplitFiles(
            format_name=format_name,
            train=train,
            test=test,
            items=items or [],
            options=options,
            item_options=item_options,
        )
        result = _on_files(files, config_of(None, preset, seed), baselines=baselines)
    else:
        raise InputError("--train and --test go together; without both the store is evaluated")
    if as_json:
        show_json(result)
    else:
        _show(result)


def _on_files(files: "SplitFiles", config: "RefreshConfig", *, baselines: bool) -> dict[str, Any]:
    from recommender.evaluation.files import evaluate_files
    from recommender.evaluation.steps import Steps

    with tempfile.TemporaryDirectory(prefix="nichegraph-evaluate-") as name:
        return evaluate_files(
            files, config, Path(name), now=now(), baselines=baselines, steps=Steps(step)
        )


def _on_store(
    settings: Settings, config: Any, split: str | None, baselines: bool
) -> dict[str, Any]:
    from recommender.evaluation.evaluate import evaluate_store
    from recommender.segments.settings import load_segment_settings

    if split is not None and split not in SPLITS:
        raise InputError(f"--split: {split!r} is not one of {', '.join(SPLITS)}")
    with (
        closing(open_store(settings)) as store,
        tempfile.TemporaryDirectory(prefix="nichegraph-evaluate-") as name,
    ):
        result = evaluate_store(
            store,
            config,
            Path(name) / "release",
            method=cast("Any", split),
            now=now(),
            baselines=baselines,
            settings=load_segment_settings(open_home(settings).segments),
            say=step,
        )
    result["dataset"] = {"home": str(settings.home), **result["dataset"]}
    return result


def _show(result: dict[str, Any]) -> None:
    from recommender.evaluation.evaluate import table_rows

    columns, rows = table_rows(result)
    show_table("", columns, rows)
    counts = result["counts"]
    say(
        f"{counts['test_pairs']:,} pairs of {counts['test_users']:,} users to be found among "
        f"{counts['items']:,} items, learned from {counts['train_pairs']:,} pairs"
    )
    for name, text in (
        ("test_pairs_of_unknown_users", "of users that the train data does not know"),
        ("test_pairs_of_unknown_items", "of items that the train data does not know"),
        ("test_pairs_in_train", "that are also in the train data"),
        ("test_pairs_of_users_without_history", "of users with nothing to learn from"),
    ):
        if counts[name]:
            say(f"left out: {counts[name]:,} test pairs {text}")
    for model, error in result.get("ratings", {}).items():
        if model != "pairs":
            say(f"ratings by {model}: RMSE {error['rmse']:.4f}, MAE {error['mae']:.4f}")
    took = sum(step["seconds"] for step in result["steps"].values())
    say(f"{took:.0f} s, at most {result['peak_rss_mb']:,.0f} MiB of memory")
