"""How well a weighting ranks, in a few seconds: a small item table on a held-back part.

What is served blends several scorers, chosen anew at each refresh. To compare weightings, the
scorer that does most of the work is enough: a ridge, in a narrow table made by a refresh's code.

A refresh finds by itself how much all tags together weigh compared with what people chose. Here the
weights are to show what one tag is worth compared with another. So all tags together weigh the same
under every weighting, namely what is best under the neutral one.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from scipy.sparse import csr_array

from embeddings import metrics
from embeddings.item_item.blend import build_item_table
from embeddings.item_item.item_table import history_of, score_history
from embeddings.item_item.recipe import RIDGE, Recipe
from embeddings.item_item.scorers import Feature
from graph.arrays import F64, I8, I64, Flags
from graph.domains import derive_domains
from graph.snapshot import EventColumns, GraphSnapshot, drop_pairs
from graph.weighted import WeightedGraph
from graph.weighting import Weighting, weigh
from recommender.learning.held_parts import features_of
from recommender.learning.split import FIT, SELECT, pair_parts, relevant_pairs

SHOWN = 20
WIDTH = 100  # of supports and of the table
TAG_FACTORS = (0.5, 1.0, 2.0, 4.0, 8.0)  # times the neutral weight of all tags together
MOST_PAIRS = 500_000  # pairs learned from; of more, a random part of the users is taken
MOST_USERS = 4_000  # asked


@dataclass(frozen=True)
class Trial:
    """What weightings are tried on; the same users and the same held-back pairs for each."""

    fit: GraphSnapshot  # without the pairs held back; its domains are those derived
    domains_from: str
    users: I64  # (s,) asked
    wanted: csr_array  # (s, i) what they chose that is not in `fit`
    now: int
    seed: int
    threads: int
    tags_weigh: float = 0.0  # all together, in any weighting; 0: as much as the weighting says

    def ndcg(self, weighting: Weighting) -> F64:
        """NDCG@20 (s,) of each asked user under a weighting."""
        graph = weigh(self.fit, weighting, self.now)
        features = features_of(graph)
        factors = tuple(self._factor(feature) for feature in features)
        table, _, _ = build_item_table(
            sparse.csr_matrix(graph.user_items),
            features,
            preset="fast",
            seed=self.seed,
            recipe=Recipe(((RIDGE, 1.0),), factors, 0.0, WIDTH, WIDTH, proposal_dimensions=0),
            threads=self.threads,
        )
        histories = _histories(graph, self.users)
        top, _ = score_history(
            table,
            histories.indptr,
            histories.indices,
            histories.data,
            SHOWN,
            threads=self.threads,
        )
        hits = metrics.hits(top, self.wanted)
        return metrics.ndcg(hits, np.diff(self.wanted.indptr), SHOWN)

    def _factor(self, feature: Feature) -> float:
        if feature.name != "tags" or not self.tags_weigh:
            return 1.0
        return self.tags_weigh / float(feature.rows.sum())


def trial_of(
    snapshot: GraphSnapshot, neutral: Weighting, *, now: int, seed: int, threads: int
) -> Trial:
    """A trial: users are asked about the select part; the gate part is not used at all.

    `neutral` decides which pairs are relevant, so every weighting has the same pairs to find.
    """
    pairs = relevant_pairs(snapshot, weigh(snapshot, neutral, now).user_items, seed)
    parts = pair_parts(pairs)
    fit = drop_pairs(snapshot, pairs.users[parts != FIT], pairs.items[parts != FIT])
    # Domains are sought once, not at every trial.
    domains = derive_domains(fit, seed)
    fit = replace(fit, item_domains=domains.links, domains=domains.names)
    rng = np.random.default_rng(seed)
    drawn = _enough_users(pairs.users, parts, rng)
    fit = _of_users(fit, drawn)
    graph = weigh(fit, neutral, now)
    chosen = (parts == SELECT) & drawn[pairs.users]
    chosen &= np.diff(graph.user_items.indptr)[pairs.users] > 0
    users = np.unique(pairs.users[chosen])
    if len(users) > MOST_USERS:
        users = np.sort(rng.choice(users, MOST_USERS, replace=False))
    wanted = csr_array(
        (
            np.ones(int(chosen.sum()), np.float32),
            (pairs.users[chosen], pairs.items[chosen]),
        ),
        shape=graph.user_items.shape,
    )[users]
    wanted.sort_indices()
    trial = Trial(
        fit=fit,
        domains_from=domains.origin,
        users=users,
        wanted=wanted,
        now=now,
        seed=seed,
        threads=threads,
    )
    neutral_sum = float(graph.item_tags.sum())
    if not neutral_sum or not len(users):
        return trial
    variants = [replace(trial, tags_weigh=factor * neutral_sum) for factor in TAG_FACTORS]
    return max(variants, key=lambda variant: float(variant.ndcg(neutral).mean()))


def _enough_users(users: I64, parts: I8, rng: np.random.Generator) -> Flags:
    """(u,) all users, or a random part of them with at most `MOST_PAIRS` pairs in fit."""
    counts = np.bincount(users[parts == FIT], minlength=int(users.max(initial=-1)) + 1)
    order = rng.permutation(len(counts))
    drawn = np.zeros(len(counts), np.bool_)
    drawn[order[np.cumsum(counts[order]) <= MOST_PAIRS]] = True
    return drawn


def _of_users(snapshot: GraphSnapshot, drawn: Flags) -> GraphSnapshot:
    if drawn.all():
        return snapshot
    events = snapshot.events
    known = events.user < len(drawn)
    keep = known & drawn[np.where(known, events.user, 0)]
    columns = {name: getattr(events, name)[keep] for name in EventColumns.__dataclass_fields__}
    return replace(snapshot, events=EventColumns(**columns))


def _histories(graph: WeightedGraph, users: I64) -> sparse.csr_matrix:
    """Weights of what each user has seen, 0 where it is only masked and says nothing."""
    both = sparse.csr_matrix(graph.user_seen + graph.user_items)  # seen is 1 wherever items are
    both.data = np.maximum(both.data - 1, 0).astype(np.float32)
    return history_of(both, users)
