"""What comes next: the last item of each list, found by ours and by others that know the order.

Leave one out for users: of each list of ../shared/data/sequences everything but its last item is
learned from, the last is to be found among all items; items of the list are not ranked. Rows:
Markov, sequential rules, V-SKNN, STAN (`_sequences.py`, each tuned on the item before the last),
and ours as it is served, with the order of the lists and without. Published figures of this
protocol learn from one item less, and hold it back to choose by: `--strict` does so, too; then ours
hears of it as of an event that came after the release.

Everything learns from all lists. `--asked N` lists, drawn by the seed, are asked about (4,000
unless something else is said, 0: all); half of a 95% interval of Recall@10 is then about 0.009.

Neural models are not part of this environment, see `_neural_lists.py`. `--write FOLDER` writes what
is learned from as `NAME.train.txt` and what is to be found as `NAME.test.txt` (`user item …`,
oldest first); lists that another library made for these users are judged in the same run by
`--lists NAME=FILE`, in the form `user item item …`, best first.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import _sets
from benchmarks._sequences import GRIDS, Lists, figures, tuned
from embeddings.vectors.sequence_model import REACH, SequenceModel
from graph.arrays import I32, I64
from graph.model import NO_ROW
from graph.snapshot import GraphSnapshot, take_snapshot
from graph.stores.embedded_store import EmbeddedStore
from graph.weighting import weigh
from loaders.format import Options
from loaders.ingest import load
from recommender.learning.build import RefreshConfig
from recommender.learning.train import build_release
from recommender.overlay.histories import EVENT, LiveUser
from recommender.ranking.request import Request
from recommender.serving.recommend import Recommender

SEQUENCES = _sets.DATA / "sequences"
ASKED_AT_ONCE = 500


class Parts(NamedTuple):
    """Lists of one set, cut: what is learned from, and of those asked about what is wanted."""

    learned: Lists
    users: I64  # (a,) rows of `learned`, in ascending order
    known: Lists  # (a,) what is known of each of them when it is asked about
    wanted: I32  # (a,)
    items: int


def main(arguments: list[str]) -> dict[str, Any]:
    """Measure; `--set NAME` may be repeated, `--strict`, `--asked N`, `--write`, `--lists`."""
    parser = argparse.ArgumentParser(prog="bench sessions")
    parser.add_argument("--set", action="append", dest="sets", metavar="NAME")
    parser.add_argument("--strict", action="store_true", help="learn from one item less")
    parser.add_argument("--asked", type=int, default=4_000, help="so many lists; 0: all")
    parser.add_argument("--baselines", default=",".join(GRIDS), help="or nothing")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--write", type=Path, metavar="FOLDER")
    parser.add_argument("--lists", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    files = {path.stem: path for path in sorted(SEQUENCES.glob("*.txt"))}
    if not files:
        raise SystemExit("no lists lie in ../shared/data/sequences")
    unknown = sorted(set(options.sets or []) - set(files))
    if unknown:
        raise SystemExit(f"--set: no list {', '.join(unknown)}; there are {', '.join(files)}")
    if options.lists and len(options.sets or []) != 1:
        raise SystemExit("--lists: name the one set that they are for, with --set")
    table, ratios = [], {}
    for name in options.sets or files:
        parts = cut(read(files[name]), options.strict, options.asked, options.seed)
        if options.write:
            written(parts, options.write, name)
        rows = measure(name, parts, options)
        table += rows
        ratios |= compared(name, rows)
    return {
        "bench": "sessions",
        "seed": options.seed,
        "strict": options.strict,
        "table": table,
        "ratios": ratios,
    }


def read(path: Path) -> list[list[int]]:
    """The items of each line `user item item …`, an item's first visit alone."""
    lines = (line.split()[1:] for line in path.read_text().splitlines())
    return [list(dict.fromkeys(map(int, items))) for items in lines]


def cut(lists: list[list[int]], strict: bool, count: int, seed: int) -> Parts:
    """Items as rows; the last of each list is wanted, of `count` lists drawn by the seed."""
    names = sorted({item for items in lists for item in items})
    row_of = {name: row for row, name in enumerate(names)}
    rows = [[row_of[item] for item in items] for items in lists if len(items) >= 3]
    drawn = np.random.default_rng(seed).permutation(len(rows))[: count or len(rows)]
    drawn.sort()
    known = [rows[row][:-1] for row in drawn.tolist()]
    wanted = np.array([rows[row][-1] for row in drawn.tolist()], np.int32)
    return Parts([own[: -2 if strict else -1] for own in rows], drawn, known, wanted, len(names))


def measure(name: str, parts: Parts, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each recommender."""
    rows = []

    def row(label: str, ranked: I32, began: float, **more: Any) -> None:
        quality = {key: round(value, 4) for key, value in figures(ranked, parts.wanted).items()}
        rows.append(
            {"set": name, "name": label, **quality}
            | {"seconds": round(time.perf_counter() - began, 1), **more}
        )
        print(rows[-1], file=sys.stderr, flush=True)

    for other in filter(None, options.baselines.split(",")):
        began = time.perf_counter()
        ranked, parameters = tuned(other, parts.learned, parts.items, options.seed)
        row(other, ranked(parts.known, 10), began, parameters=parameters)
    for pair in options.lists:
        label, _, path = pair.partition("=")
        row(label, lists_of(Path(path), parts.users), time.perf_counter())
    for ordered in (False, True):
        began = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="nichegraph-bench-") as folder:
            ranked, recipe, more = served(parts, ordered, options, Path(folder))
        read = ["recency_exponent", "follows_weight"]
        read += ["sequence_weight", "sequence_epochs"] if recipe["sequence_weight"] else []
        chosen = {key: recipe[key] for key in read}
        label = "served" if ordered else "served, without the order"
        parameters = chosen | {"steepness": recipe["follows_steepness"]}
        row(label, ranked, began, parameters=parameters, **more)
    return rows


def served(
    parts: Parts, ordered: bool, options: argparse.Namespace, folder: Path
) -> tuple[I32, dict[str, Any], dict[str, float]]:
    """Our lists (u, 10), the recipe that was chosen, and what a sequence model costs."""
    fit = snapshot_of(parts.learned, ordered, folder)
    config = RefreshConfig(preset=options.preset, seed=options.seed)
    graph = weigh(fit, config.weighting, _sets.NOW)
    release = build_release(fit, graph, config, folder / "release", now=_sets.NOW)
    recommender = Recommender(release)
    newest = release.items.rows([str(known[-1]) for known in parts.known])
    newer = {
        str(user): _event(row, parts.learned[user])
        for user, known, row in zip(parts.users.tolist(), parts.known, newest.tolist(), strict=True)
        if len(known) > len(parts.learned[user]) and row != NO_ROW
    }
    if newer:
        recommender = Recommender(release, replace(recommender.overlay, users=newer))
    best = np.full((len(parts.users), 10), -1, np.int32)
    for begin in range(0, len(best), ASKED_AT_ONCE):
        requests = [
            Request(user=str(user), n=10, profile="neutral", reasons=False)
            for user in parts.users[begin : begin + ASKED_AT_ONCE].tolist()
        ]
        for number, answer in enumerate(recommender.recommend(requests, now=_sets.NOW), begin):
            shown = [int(each.item) for each in answer.items]
            best[number, : len(shown)] = shown
    more = {} if release.sequence is None else {"foretell_ms": foretell_ms(release.sequence)}
    return best, release.manifest["recipe"], more


def foretell_ms(model: SequenceModel, lists: int = 300) -> float:
    """Milliseconds of processor time to foretell what comes next after a list of `REACH` items."""
    drawn = np.random.default_rng(0).choice(model.rows, (lists, 1, REACH))
    model.foretell(drawn[0])
    began = time.process_time()
    for own in drawn:
        model.foretell(own)
    return round(1e3 * (time.process_time() - began) / lists, 3)


def _event(item: int, before: Sequence[int]) -> LiveUser:
    """One visit after those before it: the loader gives the k-th of a list k seconds."""
    at = _sets.NOW + len(before)
    return LiveUser(np.array([(item, 0, np.nan, at, 0)], EVENT))


def snapshot_of(lists: Lists, ordered: bool, folder: Path) -> GraphSnapshot:
    """The graph of lists; their order is that of time, or unknown."""
    path = folder / "train.txt"
    path.write_text(_lines(enumerate(lists)))
    with closing(EmbeddedStore(folder / "store.sqlite")) as store:
        load(
            [path],
            "lightgcn",
            store,
            staging_folder=folder / "staging",
            rejects_file=folder / "rejects.csv",
            now=_sets.NOW,
            options=Options(ordered=ordered),
        )
        return take_snapshot(store)


def written(parts: Parts, folder: Path, name: str) -> None:
    """Both parts as files, for other libraries; the test part has the lists asked about alone."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.train.txt").write_text(_lines(enumerate(parts.learned)))
    unseen = [
        (user, [*known[len(parts.learned[user]) :], item])
        for user, known, item in zip(
            parts.users.tolist(), parts.known, parts.wanted.tolist(), strict=True
        )
    ]
    (folder / f"{name}.test.txt").write_text(_lines(unseen))


def lists_of(path: Path, users: I64) -> I32:
    """Lists (a, 10) that another library made for those asked about."""
    row_of = {user: number for number, user in enumerate(users.tolist())}
    best = np.full((len(users), 10), -1, np.int32)
    for line in path.read_text().splitlines():
        user, *items = map(int, line.split())
        if user in row_of:
            best[row_of[user], : len(items[:10])] = items[:10]
    return best


def _lines(lists: Iterable[tuple[int, Sequence[int]]]) -> str:
    return "".join(f"{user} {' '.join(map(str, own))}\n" for user, own in lists)


def compared(name: str, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Ours with the order over each other row, by NDCG@10 and Recall@10."""
    ours = next(row for row in rows if row["name"] == "served")
    ratios = {}
    for metric, ending in (("ndcg@10", ""), ("recall@10", "_recall")):
        others = [row[metric] for row in rows if row is not ours]
        ratios[f"{name}/served_over_best{ending}"] = round(ours[metric] / max(others), 4)
    return ratios


if __name__ == "__main__":
    import json

    print(json.dumps(main(sys.argv[1:]), indent=1))
