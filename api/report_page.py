"""Reports and comparisons as pages of their own: no scripts, nothing loaded, pictures inside."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from rich.filesize import decimal

WORDS = {
    "users": "users", "items": "items", "tags": "tags", "domains": "domains", "events": "events",
    "user_items": "pairs of user and item", "item_tags": "pairs of item and tag",
    "item_items": "relations of items", "user_users": "relations of users",
}  # fmt: skip
SCORERS = {
    "ridge": "a regression of each item on those it is chosen with most",
    "exact": "a regression of each item on all others (EASE)",
    "cosine": "how many users two items share (item kNN)",
    "popularity": "how many users have an item",
    "spectral": "the {dimensions} main directions in which choices differ",
    "learned": "vectors of the network {model}",
}
ALMOST_ALL = 1.96  # standard errors on each side of a mean: 95 %


def page(report: Mapping[str, Any]) -> str:
    """The HTML of a report, see `recommender.learning.report`."""
    return _rendered(
        "report.html",
        report=report,
        bars=_bars(report["figures"]),
        scorers=_scorers(report["recipe"]),
        spreads=_spreads(report["degrees"]),
        slowest=_slowest(report),
    )


def comparison_page(compared: Mapping[str, Any]) -> str:
    """The HTML of two releases side by side, see `recommender.learning.comparison`."""
    parts = []
    for part in compared["gates"]:
        both = [(_short(compared[which]), part[which]) for which in ("new", "old")]
        rows = [
            {"who": name, "value": value, "interval": None}
            for name, value in both
            if value is not None
        ]
        longest = max(row["value"] for row in rows) or 1.0
        rows = [row | {"width": 100 * row["value"] / longest} for row in rows]
        parts.append({"part": part["part"], "users": part["users"], "rows": rows})
    return _rendered("comparison.html", compared=compared, bars=parts)


def tuning_page(tuned: Mapping[str, Any]) -> str:
    """The HTML of `nichegraph tune model`, see `recommender.evaluation.model_tuning`.

    A point is a trial: how far along, and its score between the worst and the best.
    """
    scores = [trial["ndcg@20"] for trial in tuned["trials"]]
    low, high = min(scores), max(scores)
    points, so_far = [], low
    for number, score in enumerate(scores):
        so_far = max(so_far, score)
        across = 100 * number / max(len(scores) - 1, 1)
        heights = [100 - 100 * (value - low) / ((high - low) or 1) for value in (score, so_far)]
        points.append({"x": across, "y": heights[0], "best": heights[1]})
    return _rendered("tuning.html", tuned=tuned, points=points, low=low, high=high)


def _rendered(template: str, **values: Any) -> str:
    environment = Environment(
        loader=PackageLoader("api"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"moment": _moment, "count": _count, "bytes": decimal, "short": _short}
    return environment.get_template(template).render(words=WORDS, **values)


def _bars(figures: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each judged part the bars of the candidate and its rivals, in percent of the longest."""
    parts = []
    for figure in figures:
        mean, spread = figure["candidate"], ALMOST_ALL * figure["error"]
        own = [mean - spread, mean + spread]
        rows = [{"who": "this release", "value": mean, "interval": own}]
        for name, rival in figure["rivals"].items():
            ranker = "the served release" if name == "served" else name
            # The interval of the difference, drawn from the end of the candidate's own bar.
            interval = [figure["candidate"] - rival["high"], figure["candidate"] - rival["low"]]
            rows.append({"who": ranker, "value": rival["mean"], "interval": interval})
        ends = [row["interval"][1] for row in rows if row["interval"]]
        longest = max([row["value"] for row in rows] + ends) or 1.0
        for row in rows:
            row["width"] = 100 * row["value"] / longest
            if row["interval"]:
                low, high = (100 * max(end, 0.0) / longest for end in row["interval"])
                row["left"], row["span"] = low, max(high - low, 0.5)
        parts.append({"part": figure["part"], "users": figure["users"], "rows": rows})
    return parts


def _scorers(recipe: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the item table is made of, in words."""
    both = zip(recipe["scorers"], recipe["table"].items(), strict=True)
    return [
        {"words": SCORERS[scorer["kind"]].format(**scorer), "name": name, "weight": weight}
        for scorer, (name, weight) in both
    ]


def _spreads(degrees: Mapping[str, Any]) -> list[dict[str, Any]]:
    """How many users, and items, have how many choices: bars in percent of the longest."""
    pictures = []
    for noun in ("users", "items"):
        bars = degrees[f"{noun}_by_choices"]
        longest = max((bar["count"] for bar in bars), default=0) or 1
        rows = [
            {"who": _range(bar), "count": bar["count"], "width": 100 * bar["count"] / longest}
            for bar in bars
        ]
        pictures.append({"noun": noun, "rows": rows})
    return pictures


def _range(bar: Mapping[str, int]) -> str:
    few, many = bar["least"], bar["most"]
    return f"{few:,} to {many:,}" if few < many else f"{few:,}"


def _slowest(report: Mapping[str, Any]) -> float:
    return max([step["seconds"] for step in report["steps"]], default=0.0) or 1.0


def _short(name: str) -> str:
    """A release by its number, for columns; its whole name stands in the heading."""
    return f"release {int(name.split('-', maxsplit=1)[0])}"


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"
