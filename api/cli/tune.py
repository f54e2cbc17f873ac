"""`nichegraph tune`: learn what you would otherwise write into a file by hand."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from api.bootstrap import now, open_home, open_store
from api.cli.output import say, show_json, show_table, step
from api.settings import load_settings
from graph.errors import InputError

if TYPE_CHECKING:
    from recommender.evaluation.model_trial import Split
    from recommender.evaluation.weighting_tuning import Tuned

SPLITS = ("time", "folds")
PICTURE = "tuning-model.html"


def register(cli: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Learn what you would otherwise write into a file by hand.",
    )
    group.command("weighting")(weighting)
    group.command("model")(model)
    cli.add_typer(group, name="tune")


def weighting(
    ctx: typer.Context,
    to: Annotated[
        Path | None,
        typer.Option(
            help="File to write; default: weighting.toml in the home.", show_default=False
        ),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an existing file.")] = False,
    trials: Annotated[int, typer.Option(min=1, help="How many weightings to try at most.")] = 120,
    minutes: Annotated[
        float, typer.Option(min=0, help="Minutes after which the search ends.")
    ] = 10.0,
    seed: Annotated[int, typer.Option(help="The same data and seed give the same weights.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole report.")] = False,
) -> None:
    """Learn the weights for `weighting.toml`.

    Those of kinds of events, tags, domains, relations and age.
    A weight is kept only if it helped on users who took no part in the search; the others stay
    neutral. The next `nichegraph refresh` reads the file.

    \b
    nichegraph tune weighting
    nichegraph tune weighting --trials 40 --minutes 2 --replace
    nichegraph tune weighting --to learned.toml --json
    """
    from graph.snapshot import take_snapshot
    from graph.weighting_file import load_weighting
    from recommender.evaluation.weighting_tuning import tune_weighting

    settings = load_settings(ctx.obj)
    home = open_home(settings)
    path = to or home.weighting
    if path.exists() and not replace:
        raise InputError(f"{path} already exists: add --replace, or name another file with --to")
    base = load_weighting(home.weighting)
    step("taking a snapshot")
    with closing(open_store(settings)) as store:
        snapshot = take_snapshot(store, consent="train" in settings.agreed)
    tuned = tune_weighting(
        snapshot,
        base,
        now=now(),
        seed=seed,
        trials=trials,
        seconds=60 * minutes,
        say=step,
    )
    path.write_text(tuned.to_toml(), encoding="utf-8")
    if as_json:
        show_json({"file": str(path), **tuned.to_json()})
    else:
        _show(tuned, path)


def model(
    ctx: typer.Context,
    to: Annotated[
        Path | None,
        typer.Option(help="File to write; default: model.toml in the home.", show_default=False),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an existing file.")] = False,
    preset: Annotated[str, typer.Option(help="fast, default, or graph.")] = "default",
    trials: Annotated[int, typer.Option(min=1, help="How many models to try in all.")] = 100,
    minutes: Annotated[
        float, typer.Option(min=0, help="Minutes after which the search ends.")
    ] = 60.0,
    split: Annotated[
        str | None,
        typer.Option(
            help="How pairs are held back: time (the last), or folds (at random); "
            "default: time if most pairs have one.",
            show_default=False,
        ),
    ] = None,
    folds: Annotated[int, typer.Option(min=1, max=5, help="How many folds, at random.")] = 2,
    seed: Annotated[int, typer.Option(help="The same data and seed try the same.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole report.")] = False,
) -> None:
    """Learn the settings for `model.toml`.

    Width of the item table, penalty and neighbours of ridges, dimensions of the spectrum, and
    what networks weigh.
    The file is written only if they helped on users who took no part in the search. A search that
    was stopped goes on where it was. The next `nichegraph refresh` reads the file.

    \b
    nichegraph tune model
    nichegraph tune model --trials 40 --minutes 10 --replace
    nichegraph tune model --split folds --to learned.toml --json
    """
    from api.cli.refresh import config_of, with_settings
    from api.report_page import tuning_page
    from graph.durable import replace_file
    from graph.snapshot import take_snapshot
    from recommender.evaluation.model_tuning import tune_model
    from recommender.learning.model_file import model_toml

    settings = load_settings(ctx.obj)
    home = open_home(settings)
    path = to or home.model
    if path.exists() and not replace:
        raise InputError(f"{path} is there already: add --replace, or name another with --to")
    if split is not None and split not in SPLITS:
        raise InputError(f"--split: {split!r} is none of {', '.join(SPLITS)}")
    config = with_settings(config_of(settings.home, preset, seed), settings)
    step("taking a snapshot")
    with closing(open_store(settings)) as store:
        snapshot = take_snapshot(store, consent="train" in settings.agreed)
    tuned = tune_model(
        snapshot, config, home.tuning, now=now(), split=cast("Split | None", split), folds=folds,
        trials=trials, seconds=60 * minutes, say=step,
    )  # fmt: skip
    if tuned.holds:
        path.write_text(model_toml(tuned.settings, tuned.head()), encoding="utf-8")
    report = {"file": str(path) if tuned.holds else None, **tuned.to_json()}
    picture = home.reports / PICTURE
    replace_file(picture, tuning_page(report))
    if as_json:
        show_json(report | {"picture": str(picture)})
        return
    rows = [
        [name.replace("_", " "), value, tuned.best[name], f"{tuned.importance.get(name, 0.0):.0%}"]
        for name, value in tuned.start.items()
    ]
    show_table("", ["setting", "usual", "best tried", "importance"], rows)
    say(
        f"the best changes NDCG@20 by {tuned.gain} from {tuned.default_ndcg:.4f} for the other "
        "users"
    )
    if tuned.holds:
        say(f"written to {path}; the next refresh reads {home.model.name} in the home")
    else:
        say("that is no certain gain: no file is written")
    say(f"the picture is {picture}")


def _show(tuned: "Tuned", path: Path) -> None:
    rows = [
        [
            weight.knob.name,
            _value(weight.knob.neutral),
            _value(weight.value),
            str(weight.gain) if weight.verdict == "kept" else "",
            weight.verdict,
        ]
        for weight in tuned.weights
    ]
    show_table("", ["weight", "neutral", "learned", "gain in NDCG@20, 95%", ""], rows)
    for note in tuned.notes:
        say(f"note: {note}")
    kept = sum(weight.verdict == "kept" for weight in tuned.weights)
    say(
        f"{kept} of {len(tuned.weights)} weights are not neutral; together they bring NDCG@20 "
        f"{tuned.gain} over {tuned.neutral_ndcg:.4f}, by a small item table"
        if kept
        else f"none of {len(tuned.weights)} weights brings a certain gain: all stay neutral"
    )
    say(f"written to {path}; the next refresh reads {path.name} in the home")


def _value(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"
