"""How much memory a refresh will need: the large arrays that it holds at once, from counts alone.

Each moment that may be the peak is a sum of arrays, named, with the shapes that the code allocates;
`large_arrays.py` has those that several moments hold. What a refresh of next to nothing takes is
`LIBRARIES`. A full refresh is foretold; one that keeps what was chosen needs less. `./run bench
memory` tells how far that is off.
"""

from dataclasses import replace

from embeddings.item_item.candidates import COSINES, PENALTIES
from embeddings.item_item.held_back import SEARCHED
from embeddings.item_item.scorers import POPULAR, QUADRATIC_ITEMS
from embeddings.singular import SPARE_VECTORS
from graph.errors import InputError
from recommender.learning import large_arrays as large
from recommender.learning.baselines import BLOCK_SCORES, BLOCK_USERS
from recommender.learning.build import LIKENESS_DIMENSIONS, RefreshConfig
from recommender.learning.gate_figures import KNN
from recommender.learning.large_arrays import (
    ENTRY,
    EVENT,
    LONG,
    MB,
    PAIR,
    WORD,
    Arrays,
    Counts,
    Numbers,
)
from recommender.learning.profile_learning import DIVERSITIES, FRESHNESSES, LONG_TAILS, SHOWN
from recommender.learning.sequences import JUDGED_AT_ONCE, MOST_ITEMS
from recommender.learning.trial import MOST_USERS
from recommender.ranking.rerank import POOL

GROUPING = 70 * MB  # what a refresh of 2,000 events holds besides since users were grouped
PROFILES = len(DIVERSITIES) * len(LONG_TAILS) * len(FRESHNESSES)
PRODUCTS = 512 * WORD  # of each item with a block of others
FEATURES = 50  # of a user, when users are grouped


def moments(counts: Counts, config: RefreshConfig) -> dict[str, Arrays]:
    """The moments of a refresh that may be its peak, and the bytes of what is held in each.

    `counts` are those of a store: users, items, tags, events, item_tags, item_relations.
    """
    n = large.numbers_of(counts, config)
    held = {
        "holding back": {"pairs, twice": 2 * n.pairs * PAIR, "keys of events": 4 * n.events * LONG},
        "fitting ridges": _fitting_ridges(n),
        "comparing tables": _comparing_tables(n),
        "finding the spectrum": _finding_the_spectrum(n),
        "finding the spectrum of everything": _finding_the_spectrum_of_everything(n),
        "choosing the blend": _choosing_the_blend(n),
        "reading the order": _reading_the_order(n),
        "fitting the item table": _fitting_the_item_table(n),
        "placing new items": _placing_new_items(n, config.threads),
        "grouping the users": _grouping_the_users(n),
        "judging": _judging(n),
    }
    if config.preset != "fast":
        held["learning profiles"] = _learning_profiles(n)
    if config.preset == "sequence":
        held["training a sequence model"] = _training_a_sequence_model(n)
    if n.networks:
        held["training networks"] = _training_networks(n)
    always = large.graph(n, config.preset)
    return {moment: always | arrays for moment, arrays in held.items()}


def peak(counts: Counts, config: RefreshConfig) -> int:
    """The bytes that a refresh is expected to hold at most."""
    return max(sum(arrays.values()) for arrays in moments(counts, config).values())


def foretold(counts: Counts, config: RefreshConfig, allowed: int | None, free: int) -> str:
    """What a refresh is expected to need, in words.

    Args:
        counts: those of the store, see `moments`.
        config: what is to be computed.
        allowed: bytes that it may take; None: as many as are free.
        free: bytes that the machine has left for it; 0: unknown.

    Raises:
        InputError: that is more than it may take, or than is free.
    """
    needs = {name: sum(arrays.values()) for name, arrays in moments(counts, config).items()}
    when, needed = max(needs.items(), key=lambda need: need[1])
    sentence = f"expecting to need {in_gb(needed)} of memory, most of it while {when}"
    for most, whose in ((allowed, "it may take"), (free or None, "this machine has")):
        if most is not None and needed > most:
            fast = peak(counts, replace(config, preset="fast"))
            remedy = f"; --preset fast needs {in_gb(fast)}" if fast <= most else ""
            raise InputError(
                f"this refresh needs about {in_gb(needed)} of memory, and {whose} {in_gb(most)}: "
                f"run it where there is more, or raise --memory if that is what limits it{remedy}"
            )
    return sentence + (f"; {in_gb(free)} are free" if free else "")


def in_gb(size: int) -> str:
    """Bytes as people read them."""
    return f"{size / 1e9:.1f} GB"


# ── what each moment holds ───────────────────────────────────────────────────────────────


def _fitting_ridges(n: Numbers) -> Arrays:
    scored = n.of_form * n.ridge
    return {
        **large.fitting(n),
        **large.choosing(n),
        "targets": scored * WORD,
        "weights by penalty": len(PENALTIES) * scored * WORD,
        "targets and weights by history item": scored * (2 * WORD + LONG),
        "tables": (len(PENALTIES) if n.items <= SEARCHED else 2) * n.a_table,
    }


def _comparing_tables(n: Numbers) -> Arrays:
    return {
        **large.fitting(n),
        **large.choosing(n),
        "tables of scorers": (len(COSINES) + n.tables - 1) * n.a_table,
        "a table laid out": n.items * min(POPULAR, n.items) * ENTRY,
    }


def _finding_the_spectrum(n: Numbers) -> Arrays:
    return {
        **large.fitting(n),
        **large.choosing(n),
        "tables of scorers": n.tables * n.a_table,
        **_passes(n),
    }


def _finding_the_spectrum_of_everything(n: Numbers) -> Arrays:
    return {**large.fitting(n), **large.trial(n), **_passes(n)}


def _passes(n: Numbers) -> Arrays:
    vectors = (n.items + n.nodes) * (n.dimensions + SPARE_VECTORS)
    return {
        "proposals": n.items * (n.width // 2) * WORD,
        "vectors, before and after a pass": vectors * WORD,
    }


def _choosing_the_blend(n: Numbers) -> Arrays:
    return {
        **large.fitting(n),
        **large.choosing(n),
        **large.fitted_scorers(n),
        "targets of judges' items": n.judged * n.targets * WORD,
        "scores side by side": n.scorers * n.judged * n.targets * WORD,
        "blended scores": n.judged * n.targets * WORD,
    }


def _reading_the_order(n: Numbers) -> Arrays:
    return {
        **large.fitting(n),
        **large.choosing(n),
        **large.fitted_scorers(n),
        "targets of judges' items": n.judged * n.targets * WORD,
        "blended scores, plain and scaled": 2 * n.judged * n.targets * WORD,
        **large.ordering(n),
    }


def _fitting_the_item_table(n: Numbers) -> Arrays:
    return {
        **large.fitting(n),
        **large.fitted_scorers(n),
        **large.trial(n),
        "blended scores": n.items * n.targets * WORD,
        "the table": n.items * n.width * ENTRY,
        "tables for few items": n.items * n.few * ENTRY,
    }


def _placing_new_items(n: Numbers, threads: int) -> Arrays:
    return {
        **large.built(n),
        **large.left_by_fit(n),
        **large.trial(n),
        "the narrower tables": n.items * (n.width + n.few) * ENTRY,
        "nearest new items": n.items * n.cold * WORD,
        "products of vectors": 0 if n.items > QUADRATIC_ITEMS else threads * PRODUCTS * n.items,
    }


def _grouping_the_users(n: Numbers) -> Arrays:
    return {
        "what groups users": GROUPING,
        **large.built(n),
        **large.left_by_fit(n),
        **large.trial(n),
        "features of users": 6 * n.users * FEATURES * LONG,
        "events of the past": 2 * n.events * EVENT,
    }


def _judging(n: Numbers) -> Arrays:
    return {
        "what groups users": GROUPING,
        **large.left_by_fit(n),
        **large.trial(n),
        **large.trial_read_back(n),
        "the release, read back from its files": sum(large.built(n).values()),
        "item kNN to compare with": n.items * min(round(KNN["k"]), n.items) * ENTRY,
        "blocks of scores": 4 * min(BLOCK_SCORES, BLOCK_USERS * n.items) * WORD,
    }


def _learning_profiles(n: Numbers) -> Arrays:
    subjects = min(MOST_USERS, n.users)
    return {
        "what groups users": GROUPING,
        **large.built(n),
        **large.left_by_fit(n),
        **large.trial(n),
        **large.trial_read_back(n),
        "lists by profile": subjects * PROFILES * SHOWN * LONG,
        "candidates of lists": subjects * POOL * (LIKENESS_DIMENSIONS + 10) * WORD,
    }


def _training_a_sequence_model(n: Numbers) -> Arrays:
    modelled = min(n.items, MOST_ITEMS)
    return {
        **large.choosing(n),
        "the table": n.items * n.width * ENTRY,
        **large.ordering(n),
        "lists": 2 * n.pairs * WORD,
        "weights, their moments and the best": 6 * modelled * 64 * WORD,
        "a step": 2048 * (1024 + 64 * 64) * WORD,
        "what is foretold at once": min(JUDGED_AT_ONCE, n.users) * (2 * modelled + n.items) * WORD,
    }


def _training_networks(n: Numbers) -> Arrays:
    return {
        **large.choosing(n),
        "weights and their moments": 12 * n.nodes * 128 * WORD,
        "edges both ways": 4 * n.rows * (2 * LONG + WORD),
    }
