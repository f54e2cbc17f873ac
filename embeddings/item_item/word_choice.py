"""How much the words of items count beside their tags, chosen on items taken for cold.

Some items that people chose are looked at as if nobody had. Who chose them is to be found by what
they are like, once for each weight. Words that find no more than the words of other items say
nothing, and are left out.
"""

import numpy as np
from scipy import sparse

from embeddings.item_item.candidates import Quality, Say
from embeddings.item_item.cold_items import content, likeness
from embeddings.item_item.item_table import strongest_entries
from embeddings.item_item.judge import TOP, top_per_user
from embeddings.item_item.recipe import WORD_WEIGHT
from embeddings.item_item.worth import Findings, worthiest
from graph.arrays import I64, Flags

WEIGHTS = (0.1, 0.2, 0.3, 0.45, WORD_WEIGHT, 0.8, 1.0, 1.5, 2.5, 4.0)
"""Never 0: an item without tags is to be found by its words, whatever these say beside tags."""
MOST_ITEMS, MOST_USERS = 1_000, 1_500
"""Taken for cold, and asked."""
FEWEST_ITEMS, FEWEST_USERS = 50, 50
"""With fewer there is too little to choose by: what is expected stays."""
DRAWS, FAR = 8, 6.0
"""How often words are shuffled among items, and by how many standard deviations of what these draws
find the real ones must be ahead of their mean: shuffled words never were in 40 tries."""


def best_word_weight(
    known: sparse.csr_matrix,
    tags: sparse.csr_matrix,
    words: sparse.csr_matrix,
    drawn: I64,
    *,
    seed: int,
    tried: dict[str, Quality],
    say: Say,
) -> float:
    """The weight of words (i, w) beside tags (i, t), see `cold_items.content`; 0: they say nothing.

    `known` (u, i) is what may be looked at, `drawn` are the items taken for cold; those that nobody
    has are left out, and at most `MOST_ITEMS` count. `tags` must not tell who chose these.
    """
    rng = np.random.default_rng(seed)
    counts = known.getnnz(axis=0)
    drawn = drawn[counts[drawn] > 0]
    drawn = np.sort(rng.permutation(drawn)[:MOST_ITEMS])
    cold = np.zeros(len(counts), np.bool_)
    cold[drawn] = True
    wanted = _columns(known, cold)
    histories = _columns(known, ~cold)
    users = np.flatnonzero((np.diff(wanted.indptr) > 0) & (np.diff(histories.indptr) > 0))
    if not words.nnz or len(drawn) < FEWEST_ITEMS or len(users) < FEWEST_USERS:
        return WORD_WEIGHT
    users = np.sort(rng.permutation(users)[:MOST_USERS])
    wanted, histories = wanted[users], histories[users]
    warm = (counts > 0) & ~cold

    def findings_of(features: sparse.csr_matrix) -> Findings:
        scores = sparse.csr_matrix(histories @ likeness(features, drawn, warm))  # (b, i)
        return Findings(((1.0, top_per_user(strongest_entries(scores, TOP).neighbours, wanted)),))

    def noted(name: str, features: sparse.csr_matrix) -> Findings:
        findings = findings_of(features)
        tried[name] = findings.quality
        return findings

    none = sparse.csr_matrix(tags[:, :0])
    alone = noted("words alone", content(none, words))
    by_chance = [
        sum(findings_of(content(none, words[rng.permutation(len(counts))])).quality)
        for _ in range(DRAWS)
    ]
    far = FAR * float(np.std(by_chance, ddof=1))
    if sum(alone.quality) <= float(np.mean(by_chance)) + far:
        say("words: those of other items find as much, so they are left out")
        return 0.0
    if not tags.nnz:
        return WORD_WEIGHT
    findings = {
        weight: noted(f"words x {weight:g}", content(tags, words, weight)) for weight in WEIGHTS
    }
    weight = worthiest(findings, WORD_WEIGHT)
    say(f"words: weight {weight:g} beside tags")
    return weight


def _columns(matrix: sparse.csr_matrix, kept: Flags) -> sparse.csr_matrix:
    """1 for each entry of the columns that are kept; the shape stays."""
    part = sparse.csr_matrix(matrix.sign() @ sparse.diags(kept.astype(np.float32)))
    part.eliminate_zeros()
    part.sort_indices()
    return part
