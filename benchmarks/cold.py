"""Items without events and users with few events, by the code that serves.

Cold items: a tenth of the items lose all their events; given tags stay. For each user with a
history only the cold items are ranked (a request with a filter), and those that the user had are
to be found. Compared with tag kNN (from every item of the history to the cold items with the
highest cosine of rarity-weighted tags, 100 per item) and tag content (cosine of an item's tags and
the sum of the history's).
Folded in: what a release would do with an item that it never had. Each cold item gets a vector
from its tags, domains and title, by the map of a source of vectors, and is ranked by the product
of this vector and the one that the source makes of the user's history; with relations, too, if
the set has some.

Words: what is served if nothing is known of items but tags and domains, nothing but words, or all
of it. Of cold items as above; and of rare ones among all: a tenth of the pairs of the items that
together have the rarer half of all pairs is held back as well, and is to be found.

Few events: a tenth of the users is unknown to the release. Their events are put in random order,
and the first 1, 2, 3, 5 or 10 are sent as a session; what comes after the tenth is to be found, and
the ten are never shown. Item kNN is tuned, and fitted with those events in its train data. V-SKNN
(`_sequences`) is tuned, too; it learns from the histories in their order, or in a random one.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_array, csr_matrix, diags_array

from benchmarks import _sequences, _sets
from embeddings import metrics
from embeddings.vectors.fold_in import fold_in_users
from graph.model import tag_parts
from graph.snapshot import GraphSnapshot, drop_pairs
from graph.weighted import WeightedGraph
from graph.weighting import weigh
from recommender.learning.baselines import FAMILIES, binary, rank_all, tuned
from recommender.learning.build import RefreshConfig
from recommender.learning.fold_in_arrays import map_arrays
from recommender.learning.held_parts import order_of_pairs
from recommender.learning.item_features import known_features
from recommender.learning.split import cold_items, relevant_pairs
from recommender.learning.train import build_release
from recommender.ranking.filters import Filters
from recommender.ranking.request import NEUTRAL, Filter, NewItem, Request
from recommender.releases.release import Release
from recommender.serving.new_items import NewItems
from recommender.serving.recommend import Recommender

FIRST = (1, 2, 3, 5, 10)
NEIGHBOURS = 100
MOST_USERS = 1500  # asked
Rows = list[dict[str, Any]]


def main(arguments: list[str]) -> dict[str, Any]:
    """Measure; `--set NAME` may be repeated (default movielens, citeulike), `--preset NAME`.

    `--part` cold, words or few: only that; may be repeated, too.
    """
    parser = argparse.ArgumentParser(prog="bench cold")
    parser.add_argument("--set", action="append", dest="sets", metavar="NAME")
    parser.add_argument("--part", action="append", dest="parts", choices=list(PARTS))
    parser.add_argument("--preset", default="default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    config = RefreshConfig(preset=options.preset, seed=options.seed)
    table: Rows = []
    ratios: dict[str, float] = {}
    for name in _sets.chosen(options.sets or ["movielens", "citeulike"]):
        with tempfile.TemporaryDirectory(prefix="nichegraph-bench-") as folder:
            everything = _sets.all_events(name, Path(folder))
            for label in options.parts or PARTS:
                print(f"{name}: {label}", file=sys.stderr)
                rows, gains = PARTS[label](everything, config, Path(folder) / label)
                table += [{"set": name, **row} for row in rows]
                ratios |= {f"{name}/{column}": round(gain, 4) for column, gain in gains.items()}
    return {"bench": "cold", "table": table, "ratios": ratios}


def words(everything: GraphSnapshot, config: RefreshConfig, folder: Path) -> tuple[Rows, dict]:
    """Rows by what is known of items, of cold items and of rare ones; and the gains by words."""
    likes = binary(weigh(everything, config.weighting, _sets.NOW).user_items)
    is_cold = cold_items(everything.items, config.seed)
    counts = likes.sum(axis=0)
    order = np.argsort(-counts, kind="stable")
    rare = np.zeros(len(counts), bool)
    rare[order] = np.cumsum(counts[order]) > counts.sum() / 2
    pairs = likes.tocoo()
    drawn = np.random.default_rng(config.seed).random(pairs.nnz) < 0.1
    drawn &= rare[pairs.col] & ~is_cold[pairs.col]
    held = csr_array(
        (np.ones(drawn.sum(), np.float32), (pairs.row[drawn], pairs.col[drawn])), shape=likes.shape
    )
    fit = drop_pairs(everything, pairs.row[drawn], pairs.col[drawn])
    of_cold = csr_array(likes @ diags_array(is_cold.astype(np.float32)))
    of_cold.eliminate_zeros()
    only = Filter(items=tuple(everything.items.ids(np.flatnonzero(is_cold).tolist())))
    parts = {"cold items": (of_cold, only), "rare items": (held, Filter())}
    rows: Rows = []
    for known, snapshot in _by_what_is_known(fit).items():
        recommender, graph = _without(snapshot, is_cold[snapshot.events.item], config, folder)
        weight = recommender.release.manifest["recipe"]["word_weight"]
        histories = np.diff(graph.user_items.indptr) > 0
        for part, (wanted, filtered) in parts.items():
            able = np.flatnonzero((np.diff(wanted.indptr) > 0) & histories)
            users = np.sort(np.random.default_rng(config.seed).permutation(able)[:MOST_USERS])
            names = everything.users.ids(users.tolist())
            lists = _served(recommender, [Request(user=name, filter=filtered) for name in names])
            row = _row(part, f"served, {known}", lists, wanted[users])
            rows.append({**row, "weight of words": weight})
    gains = {}
    for part in parts:
        tags, _, both = (row for row in rows if row["what"] == part)
        gains |= {
            f"words_{part.split()[0]}_{figure}": both[f"{figure}@20"]
            / max(tags[f"{figure}@20"], 1e-9)
            for figure in ("recall", "ndcg")
        }
    return rows, gains


def _by_what_is_known(snapshot: GraphSnapshot) -> dict[str, GraphSnapshot]:
    """The snapshot with nothing of items but tags and domains, nothing but words, and all of it."""
    events, tags, domains = snapshot.events, snapshot.item_tags, snapshot.item_domains
    return {
        "tags only": replace(snapshot, item_titles=pa.array([""] * len(snapshot.items))),
        "words only": replace(
            snapshot,
            events=replace(events, tag=np.full_like(events.tag, -1)),
            item_tags=_none_of(tags),
            item_domains=_none_of(domains),
        ),
        "tags and words": snapshot,
    }


def _none_of(links: Any) -> Any:
    return replace(links, source=links.source[:0], target=links.target[:0], weight=links.weight[:0])


def cold(everything: GraphSnapshot, config: RefreshConfig, folder: Path) -> tuple[Rows, dict]:
    """Rows of the three rankers, and ours over the best of the others."""
    likes = binary(weigh(everything, config.weighting, _sets.NOW).user_items)
    is_cold = cold_items(everything.items, config.seed)
    recommender, graph = _without(everything, is_cold[everything.events.item], config, folder)
    history = binary(graph.user_items)
    wanted = csr_array(likes @ diags_array(is_cold.astype(np.float32)))
    wanted.eliminate_zeros()
    able = np.flatnonzero((np.diff(wanted.indptr) > 0) & (np.diff(history.indptr) > 0))
    users = np.sort(np.random.default_rng(config.seed).permutation(able)[:MOST_USERS])
    only = Filter(items=tuple(everything.items.ids(np.flatnonzero(is_cold).tolist())))
    requests = [Request(user=name, filter=only) for name in everything.users.ids(users.tolist())]
    tags = _unit(graph.item_tags)
    near = _strongest(tags, is_cold)
    history = csr_array(history[users])
    profiles = csr_array(history @ tags)
    warm = csr_array(np.tile(~is_cold, (len(users), 1)).astype(np.float32))
    at = np.arange(len(users))
    ranked = {
        "served": _served(recommender, requests),
        "tag kNN": rank_all(lambda rows: (history[rows] @ near).toarray(), at, warm, 20),
        "tag content": rank_all(lambda rows: (profiles[rows] @ tags.T).toarray(), at, warm, 20),
    }
    rows = [_row("cold items", name, lists, wanted[users]) for name, lists in ranked.items()]
    best = max(1e-9, *(row["recall@20"] for row in rows[1:]))
    gains = {"cold_recall": rows[0]["recall@20"] / best}
    maps = [("folded in", recommender.release)]
    if "gnn" in recommender.release.vectors:
        maps.append(("folded in by a network", _by_network(recommender.release, everything, graph)))
    folded = [
        _folded(*maps_of_one, everything, np.flatnonzero(is_cold), users) for maps_of_one in maps
    ]
    for name, score, ms in chain.from_iterable(folded):
        row = _row("cold items", name, rank_all(score, at, warm, 20), wanted[users])
        rows.append({**row, "ms an item": ms})
        gains[f"{name.replace(' ', '_').replace(',', '')}_recall"] = row["recall@20"] / best
    return rows, gains


def _by_network(release: Release, everything: GraphSnapshot, graph: WeightedGraph) -> Release:
    """The release with the map that a HeteroConv network learns in place of the ridge's."""
    from embeddings.vectors.gnn_features import fit_inductive

    known = known_features(everything, graph)
    features = {k: part[known.items] for k, part in known.features.items() if part.shape[1]}
    learned = fit_inductive(features, release.vectors["gnn"][known.items], seed=0)
    kept = {name: a for name, a in release.arrays.items() if not name.startswith("fold.spectral")}
    return replace(release, arrays={**kept, **map_arrays("gnn", learned)})


def _folded(label: str, release: Release, everything: GraphSnapshot, cold: Any, users: Any) -> Any:
    """(name, scores of rows of `users`, median milliseconds an item) by source of vectors."""
    new_items = NewItems(release, Filters(release))
    titles, links = everything.item_titles.to_pylist(), everything.item_relations
    tags, domains = release.item_tags.matrix, release.item_domains.matrix
    related: dict[int, list[int]] = {}
    for source_row, target_row in zip(links.source.tolist(), links.target.tolist(), strict=True):
        related.setdefault(source_row, []).append(target_row)
        related.setdefault(target_row, []).append(source_row)
    isin = np.isin(np.arange(len(everything.items)), cold)
    histories = release.histories.matrix[users]
    for with_relations in (False, True) if related else (False,):
        placed, times = [], []
        for item in cold.tolist():
            near = [row for row in related.get(item, ()) if with_relations and not isin[row]]
            known = NewItem(
                titles[item] or "",
                tuple(":".join(tag_parts(key)) for key in release.tags.ids(_entries(tags, item))),
                tuple(release.domains.ids(_entries(domains, item))),
                tuple(release.items.ids(near)),
            )
            began = time.perf_counter()
            placed.append(new_items.locate(known))
            times.append(time.perf_counter() - began)
        for source in placed[0].parts:
            made = np.zeros((len(everything.items), placed[0].parts[source].shape[1]), np.float32)
            made[cold] = [item.vector(source) for item in placed]
            vectors = release.queries[source]
            people = fold_in_users(vectors, histories)
            name = f"{label}, {source}" + (", relations" if with_relations else "")
            score = partial(lambda p, m, rows: p[rows] @ m.T, people, made)
            yield name, score, round(1000 * float(np.median(times)), 3)


def _entries(matrix: csr_array, row: int) -> list[int]:
    return matrix.indices[slice(*matrix.indptr[[row, row + 1]])].tolist()


def few(everything: GraphSnapshot, config: RefreshConfig, folder: Path) -> tuple[Rows, dict]:
    """Rows of the three rankers by the number of events, and ours over each of the others."""
    likes = binary(weigh(everything, config.weighting, _sets.NOW).user_items)
    rng = np.random.default_rng(config.seed)
    able = rng.permutation(np.flatnonzero(np.diff(likes.indptr) > max(FIRST)))
    users = np.sort(able[: min(MOST_USERS, max(1, len(everything.users) // 10))])
    unknown = np.isin(everything.events.user, users)
    recommender, graph = _without(everything, unknown, config, folder)
    drawn = [rng.permutation(likes.indices[slice(*likes.indptr[[u, u + 1]])]) for u in users]
    wanted, ten = (
        _matrix([items[part] for items in drawn], users, likes.shape)
        for part in (slice(max(FIRST), None), slice(max(FIRST)))
    )
    train = graph.user_items
    best = tuned(train, seed=config.seed, names=["item_knn"], thorough=True)["item_knn"].parameters
    lists = _in_order(everything, unknown, graph, config.seed)
    nearest, _ = _sequences.tuned("V-SKNN", lists, likes.shape[1], config.seed)
    rows, gains = [], {}
    for k in FIRST:
        names = [everything.items.ids(items[: max(FIRST)].tolist()) for items in drawn]
        requests = [
            Request(items=dict.fromkeys(ids[:k], 1.0), exclude=tuple(ids[k:])) for ids in names
        ]
        known = csr_array(
            binary(train) + _matrix([items[:k] for items in drawn], users, likes.shape)
        )
        score = FAMILIES["item_knn"].prepare(binary(known), best)(best)
        ranked = {
            "served": _served(recommender, requests),
            "item kNN": rank_all(score, users, ten, 20),
            "V-SKNN": _others(nearest([items[:k] for items in drawn], 20 + max(FIRST)), ten[users]),
        }
        own, *others = [_row(f"{k} events", name, ranked[name], wanted[users]) for name in ranked]
        rows += [own, *others]
        for other, ending in zip(others, ("", "_v_sknn"), strict=True):
            both = ranked["served"], ranked[other["name"]]
            other["served minus this"] = _lead(*both, wanted[users], config.seed)
            gains[f"events_{k}{ending}"] = own["ndcg@20"] / max(other["ndcg@20"], 1e-9)
    return rows, gains


def _in_order(
    everything: GraphSnapshot, out: Any, graph: WeightedGraph, seed: int
) -> _sequences.Lists:
    """The histories of all users that have one, oldest first, or in random order."""
    fit = drop_pairs(everything, everything.events.user[out], everything.events.item[out])
    likes = csr_matrix(graph.user_items)
    likes.sort_indices()
    order = order_of_pairs(relevant_pairs(fit, graph.user_items, seed), likes)
    when = np.random.default_rng(seed).random(likes.nnz) if order is None else order.data
    owners = np.repeat(np.arange(likes.shape[0]), np.diff(likes.indptr))
    items = likes.indices[np.lexsort((when, owners))]
    return [own.tolist() for own in np.split(items, likes.indptr[1:-1]) if len(own)]


def _others(ranked: Any, shut: csr_array) -> Any:
    """The first 20 of each list (b, n) that are not `shut` (b, i)."""
    best = np.full((len(ranked), 20), -1, np.int32)
    for row, own in enumerate(ranked):
        left = own[(own >= 0) & ~np.isin(own, shut.indices[slice(*shut.indptr[[row, row + 1]])])]
        best[row, : len(left[:20])] = left[:20]
    return best


def _without(everything: GraphSnapshot, out: Any, config: RefreshConfig, folder: Path) -> Any:
    fit = drop_pairs(everything, everything.events.user[out], everything.events.item[out])
    graph = weigh(fit, config.weighting, _sets.NOW)
    release = build_release(fit, graph, config, folder, now=_sets.NOW)
    return Recommender(release), graph


def _served(recommender: Recommender, requests: list[Request]) -> Any:
    requests_made = [replace(request, n=20, profile=NEUTRAL, reasons=False) for request in requests]
    ranked = np.full((len(requests_made), 20), -1, np.int32)
    for number, answer in enumerate(recommender.recommend(requests_made, now=_sets.NOW)):
        rows = [recommender.release.items.row(item.item) for item in answer.items]
        ranked[number, : len(rows)] = rows
    return ranked


def _row(label: str, name: str, ranked: Any, wanted: csr_array) -> dict[str, Any]:
    hits, relevant = metrics.hits(ranked, wanted), np.diff(wanted.indptr)
    recall = round(float(metrics.recall(hits, relevant, 20).mean()), 4)
    ndcg = round(float(metrics.ndcg(hits, relevant, 20).mean()), 4)
    return {"what": label, "name": name, "recall@20": recall, "ndcg@20": ndcg, "users": len(ranked)}


def _lead(ranked: Any, others: Any, wanted: csr_array, seed: int) -> list[float]:
    """The 95% interval of how much more NDCG@20 the first lists have, over those who are asked."""
    relevant = np.diff(wanted.indptr)
    own, its = (
        metrics.ndcg(metrics.hits(lists, wanted), relevant, 20) for lists in (ranked, others)
    )
    return [round(float(edge), 4) for edge in metrics.bootstrap(own - its, seed=seed)[0]]


def _strongest(tags: csr_array, is_cold: Any) -> csr_array:
    alike = (tags @ csr_array(diags_array(is_cold.astype(np.float32)) @ tags).T).tocsr()
    for begin, end in pairwise(alike.indptr):
        row = alike.data[begin:end]  # a view
        if len(row) > NEIGHBOURS:
            row[row < np.partition(row, -NEIGHBOURS)[-NEIGHBOURS]] = 0
    return alike


def _unit(matrix: csr_array) -> csr_array:
    carriers = np.maximum(np.bincount(matrix.indices, minlength=matrix.shape[1]), 1)
    rarity = np.log(matrix.shape[0] / carriers)
    weighted = csr_array(binary(matrix) @ diags_array(rarity.astype(np.float32)))
    lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    return csr_array(diags_array((1 / np.maximum(lengths, 1e-9)).astype(np.float32)) @ weighted)


PARTS = {"cold": cold, "words": words, "few": few}


def _matrix(lists: list, users: Any, shape: tuple[int, int]) -> csr_array:
    rows = np.repeat(users, [len(row) for row in lists])
    return csr_array((np.ones(len(rows), np.float32), (rows, np.concatenate(lists))), shape=shape)
