"""The sequence model of the preset sequence: whether it joins the table, with which weight, and its
training.

It is chosen by the end of each history, which is held back: a model that has not seen it foretells
it, alone and beside the item table, over the code that serves. Where it does not raise quality by
`COST` and by more than chance, its weight is 0 and nothing of it is kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
from scipy import sparse

from embeddings.hold_out import rows_of
from embeddings.item_item.fitting import fit_table
from embeddings.item_item.follows import with_follows
from embeddings.item_item.held_back import HeldBack, learned_from
from embeddings.item_item.item_table import ItemTable
from embeddings.item_item.judge import TOP, top_per_user
from embeddings.item_item.recency import weighed
from embeddings.item_item.recipe import Recipe
from embeddings.item_item.scorers import Feature
from embeddings.item_item.worth import Findings, worthiest
from embeddings.vectors.sequence_model import REACH, SequenceModel
from graph.arrays import F32, I32, I64
from graph.errors import InputError
from recommender.ranking.candidates import Ranking, Subjects, from_table, top_of_scores
from recommender.ranking.rerank import POOL
from recommender.ranking.sources import SEQUENCE, foretold, fuse

Say = Callable[[str], None]

WEIGHTS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
SHARPNESS = (0.125, 0.25, 0.5, 1.0)
COST = 0.02
"""To train a sequence model at all must raise quality by this share."""
JUDGES, FEWEST_JUDGES, JUDGED_AT_ONCE = 4_000, 50, 250
MOST_ITEMS = 40_000
"""So many items are read and foretold, those that most people chose: a list costs a product with
each of their vectors."""


def with_sequences(
    recipe: Recipe,
    users: sparse.csr_matrix,
    held: HeldBack,
    features: Sequence[Feature],
    *,
    seed: int,
    threads: int,
    say: Say,
) -> tuple[Recipe, dict[str, Any]]:
    """The recipe with the weight of a sequence model, and a report of what was tried.

    Args:
        recipe: of the item table, as it was chosen.
        users: (u, i) all that may be learned from while choosing.
        held: what is held back from it.
        features: of the items, where `held` has none of its own.
        seed: of the judges and of training.
        threads: of the processor; one gives the same bytes.
        say: called with the name of each step.
    """
    order, later = held.order, held.later
    ends = np.zeros(0, np.int64) if later is None else np.flatnonzero(np.diff(later.indptr))
    fit = learned_from(users, held)
    ends = ends[np.diff(fit.indptr)[ends] > 0]
    if order is None or later is None or len(ends) < FEWEST_JUDGES:
        say("sequence model: too few histories are in order, so there is none")
        return recipe, {}
    if len(ends) > JUDGES:
        ends = np.sort(np.random.default_rng(seed).choice(ends, JUDGES, replace=False))
    table, spectral, _ = fit_table(
        fit, features if held.features is None else held.features, recipe,
        seed=seed, threads=threads,
    )  # fmt: skip
    table = with_follows(table, fit, order, recipe, threads)
    judges = _Judges.of(ends, fit, order, later, held.seen, recipe)

    def alone(model: SequenceModel) -> float:
        return sum(judges.findings([judges.foretold(model)], [1.0]).quality)

    start = spectral.item_vectors * np.sqrt(spectral.values)
    say(f"training a sequence model on {fit.nnz:,} pairs")
    model, report = trained(fit, order, start, 0, seed, threads, say, alone)
    by_table = judges.of_table(table, threads)
    findings = {(0.0, 1.0): judges.findings([by_table], [1.0])}
    for sharpness in SHARPNESS:
        ranked = judges.foretold(sharpened(model, sharpness))
        for weight in WEIGHTS:
            both = judges.findings([by_table, ranked], [1.0, weight])
            findings[weight, sharpness] = both
    weight, sharpness = worthiest(findings, (0.0, 1.0), lambda way: COST if way[0] else 0.0)
    say(f"sequence model: weight {weight:g}, sharpness {sharpness:g}")
    tried = {f"sequence x {w:g} {s:g}": list(heard.quality) for (w, s), heard in findings.items()}
    if weight:
        recipe = replace(
            recipe, sequence_weight=weight, sequence_sharpness=sharpness,
            sequence_epochs=report["best_epoch"],
        )  # fmt: skip
    return recipe, tried


def trained(
    users: sparse.csr_matrix,
    order: sparse.csr_matrix,
    start: F32,
    epochs: int,
    seed: int,
    threads: int,
    say: Say,
    watch: Callable[[SequenceModel], float] | None = None,
) -> tuple[SequenceModel, dict[str, Any]]:
    """A model of the histories `users` (u, i) in their order, and a report for the manifest.

    Items begin with the vectors `start` (i, d). Without `epochs` it is trained until `watch` gives
    no better figure.
    """
    training = what_trains()
    counts = np.bincount(users.indices, minlength=users.shape[1])
    known = np.argsort(-counts, kind="stable")[: min(MOST_ITEMS, np.count_nonzero(counts))]
    known = np.sort(known).astype(np.int32)
    places = np.full(users.shape[1], -1, np.int32)
    places[known] = np.arange(len(known), dtype=np.int32)
    lists = [places[own] for own in lists_of(users, order)]
    config = training.SequenceConfig()
    return training.train_sequences(
        [own[own >= 0] for own in lists if len(own) > 1],
        len(known),
        config=replace(config, epochs=epochs) if epochs else config,
        seed=seed,
        threads=threads,
        start=np.ascontiguousarray(start[known]),
        rows=known,
        watch=watch,
        progress=lambda epoch: say(f"sequence model: epoch {epoch}"),
    )


def what_trains() -> ModuleType:
    """The module that trains; an `InputError` if the extra `train` is not installed."""
    try:
        from embeddings.vectors import sequence_training
    except ImportError as error:
        raise InputError(
            f"the preset sequence trains a network and needs {error.name}: install "
            "nichegraph[train]"
        ) from error
    return sequence_training


def sharpened(model: SequenceModel, sharpness: float) -> SequenceModel:
    """The model with its logits times `sharpness`."""
    norms = model.norms.copy()
    norms[-1] *= np.float32(sharpness)
    return replace(model, norms=norms)


def lists_of(users: sparse.csr_matrix, order: sparse.csr_matrix) -> list[I32]:
    """The items of each history (u, i), oldest first; those of a moment by their rows."""
    rows = rows_of(users)
    when = np.asarray(order[rows, users.indices]).ravel()
    by_time = users.indices[np.lexsort((users.indices, when, rows))].astype(np.int32)
    return np.split(by_time, users.indptr[1:-1])


@dataclass(frozen=True)
class _Judges:
    """Users whose last items are to be found."""

    subjects: Subjects
    wanted: sparse.csr_matrix  # (b, i)

    @classmethod
    def of(
        cls,
        rows: I64,
        fit: sparse.csr_matrix,
        order: sparse.csr_matrix,
        later: sparse.csr_matrix,
        seen: sparse.csr_matrix | None,
        recipe: Recipe,
    ) -> "_Judges":
        """The users of some rows of all matrices (u, i)."""
        known = sparse.csr_matrix(fit[rows])
        lists = lists_of(known, sparse.csr_matrix(order[rows]))
        rows = rows[np.argsort([len(own) for own in lists], kind="stable")]  # alike in length
        known, when, wanted = (sparse.csr_matrix(part[rows]) for part in (fit, order, later))
        shut = known.sign() + (0 * known if seen is None else seen[rows].sign())
        shut = sparse.csr_matrix(shut - shut.multiply(wanted.sign()))
        shut.eliminate_zeros()
        lists = lists_of(known, when)
        newest = np.full((len(rows), REACH), -1, np.int32)
        for own, items in zip(newest, lists, strict=True):
            own[REACH - len(items[-REACH:]) :] = items[-REACH:]
        weights = weighed(known, when, recipe.recency_exponent)
        follows = (
            np.float32(recipe.follows_weight) * weighed(known, when, recipe.follows_steepness).data
        )
        subjects = Subjects(
            indptr=weights.indptr.astype(np.int64),
            items=weights.indices.astype(np.int32),
            weights=weights.data,
            blocked_indptr=shut.indptr.astype(np.int64),
            blocked=shut.indices.astype(np.int32),
            masks=np.ones((1, fit.shape[1]), np.bool_),
            mask=np.zeros(len(rows), np.int32),
            newest=follows,
            queries={SEQUENCE: newest},
        )
        return cls(subjects, wanted)

    def of_table(self, table: ItemTable, threads: int) -> Ranking:
        """The best of the item table."""
        return from_table(table, self.subjects, POOL, threads=threads)

    def foretold(self, model: SequenceModel) -> Ranking:
        """The best of a model."""
        parts = []
        for begin in range(0, len(self.subjects), JUDGED_AT_ONCE):
            part = self.subjects.part(begin, min(begin + JUDGED_AT_ONCE, len(self.subjects)))
            dense = foretold(model, part.queries[SEQUENCE], self.wanted.shape[1])
            parts.append(top_of_scores(dense, part, POOL))
        return Ranking(
            np.concatenate([part.items for part in parts]),
            np.concatenate([part.scores for part in parts]),
        )

    def findings(self, rankings: Sequence[Ranking], weights: Sequence[float]) -> Findings:
        """What rankings find together, fused as in serving."""
        fused, _, _ = fuse(rankings, weights, TOP)
        return Findings(((1.0, top_per_user(fused.items, self.wanted)),))
