"""`nichegraph tune`: learn what you would otherwise write into a file by hand."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.bootstrap import now, open_home, open_store
from api.cli.output import say, show_json, show_table, step
from api.settings import load_settings
from graph.errors import InputError

if TYPE_CHECKING:
    from recommender.evaluation.weighting_tuning import Tuned


def register(cli: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Learn what you would otherwise write into a file by hand.",
    )
    group.command("weighting")(weighting)
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
