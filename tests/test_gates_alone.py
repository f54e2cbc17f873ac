"""Each comparison of the gates, and checks of the data, have a refresh that they alone refuse."""

from dataclasses import replace

import numpy as np
import pytest
from test_gates import again, base_of, gates_of

from benchmarks._spoiled import SPOILS, Tables, unchanged
from benchmarks.gates import unconverged
from graph.errors import GateRefused
from graph.weighting import Weighting
from recommender.learning import gate_figures, judging
from recommender.learning.build import RefreshConfig
from recommender.learning.gate_figures import COLD, COLD_USERS, ITEM_KNN, SEGMENT, SHOWN, TAIL
from recommender.learning.gates import EVERYBODY, SERVED
from recommender.releases.publishing import current, note, open_release

FAST = RefreshConfig(preset="fast", threads=1)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A served release whose own figures are forgotten, so that nothing can fall below them."""
    home = base_of(tmp_path_factory.mktemp("alone") / "home")
    served = home.releases / current(home)
    note(served, {"gates": open_release(served).manifest["gates"] | {"figures": []}})
    return home


def lists_of(pairs, kept, first):
    """(u, SHOWN) lists that hold what each user has to find, of the kept pairs, from a rank on."""
    lists = np.full((pairs.shape[0], SHOWN), -1, np.int64)
    ranks = np.full(pairs.shape[0], first)
    for user, item in zip(pairs.row[kept], pairs.col[kept], strict=True):
        if ranks[user] < SHOWN:
            lists[user, ranks[user]] = item
            ranks[user] += 1
    return lists


def spoiled(monkeypatch, wanted, rival):
    """The rival finds all of one part, the candidate all of the rest, which is more.

    Of everybody the rival finds all, but late; the candidate finds the same one rank later, which
    costs each user 2 %: more than everybody together may lose, and less than a part may.
    """
    judged = judging.figures
    names = []
    if wanted == COLD:  # few have any to find in so small a catalogue; here they may judge
        monkeypatch.setattr(gate_figures, "FEWEST_JUDGED", 2)

    def figures(trial, _served, segments, segment_names, *, seed):
        pairs = trial.gate.truth[trial.gate.users].tocoo()
        counts = np.bincount(trial.graph.user_items.indices, minlength=pairs.shape[1])
        own = segments[trial.gate.users][pairs.row]
        smallest = int(np.argmin(np.bincount(own[own >= 0])))
        cold = counts[pairs.col] <= COLD_USERS
        parts = {
            TAIL: gate_figures.metrics.tail(counts)[pairs.col] & ~cold,
            COLD: cold,
            SEGMENT: own == smallest,
        }
        names.append(wanted + (segment_names[smallest] if wanted == SEGMENT else ""))
        whole = np.ones(len(pairs.row), np.bool_)
        if wanted == EVERYBODY:
            good, bad = lists_of(pairs, whole, 14), lists_of(pairs, whole, 15)
        else:
            good, bad = lists_of(pairs, parts[wanted], 0), lists_of(pairs, ~parts[wanted], 0)
        nothing = np.full_like(bad, -1)
        # Where the rival is a simple one, the served one cannot be made again.
        served = replace(trial, made=None) if rival == SERVED else None
        monkeypatch.setattr(gate_figures, "_lists", lambda of, _: good if of is served else bad)
        monkeypatch.setattr(
            gate_figures, "simple_lists", lambda _, of, __: good if of.name == rival else nothing
        )
        return judged(trial, served, segments, segment_names, seed=seed)

    monkeypatch.setattr(judging, "figures", figures)
    return names


@pytest.mark.parametrize("rival", [SERVED, ITEM_KNN])
@pytest.mark.parametrize("wanted", [EVERYBODY, TAIL, COLD, SEGMENT])
def test_a_comparison_alone(base, monkeypatch, wanted, rival):
    names = spoiled(monkeypatch, wanted, rival)
    with pytest.raises(GateRefused, match="is not published"):
        again(base, lambda *_: None)
    assert gates_of(base) == {f"{'served' if rival == SERVED else 'baseline'}: {names[0]}"}


# ── each check of the data ───────────────────────────────────────────────────────────────


def rare_items_gone(tables, _rng):
    """More than a third of the items, with what was done to them: a tenth of all events."""
    counts = tables["events"].item.value_counts()
    gone = set(counts.index[-int(0.36 * len(counts)) :])
    for name in ("events", "item_tags", "item_domains"):
        tables[name] = tables[name][~tables[name].item.isin(gone)]
    tables["items"] = tables["items"][~tables["items"].id.isin(gone)]


def users_gone(tables, rng):
    """Two of five users, with all that they did."""
    users = tables["events"].user.unique()
    gone = set(rng.choice(users, int(0.4 * len(users)), replace=False))
    tables["events"] = tables["events"][~tables["events"].user.isin(gone)]


def rarest_kind_gone(tables, _rng):
    events = tables["events"]
    tables["events"] = events[events.kind != events.kind.value_counts().index[-1]]


SPOILED = {
    "items gone": rare_items_gone,
    "events gone": users_gone,
    "domain gone": SPOILS["a domain dropped"],
    "kind gone": rarest_kind_gone,
    "times turned back": SPOILS["times reversed"],
    "column emptied": SPOILS["titles emptied"],
    "older snapshot": unchanged,
}


@pytest.mark.parametrize("check", SPOILED)
def test_a_check_of_the_data_alone(base, monkeypatch, check):
    """Whole refreshes: nothing else would have kept them from being published."""
    if check == "older snapshot":
        monkeypatch.setattr(Tables, "watermark", lambda _: 0)
    with pytest.raises(GateRefused, match="is not published"):
        again(base, SPOILED[check])
    assert gates_of(base) == {check}


def test_negated_weights_are_refused(base):
    """A weighting file that calls the busiest kind one against items."""
    wrong = Weighting(against_kinds=("view",))
    with pytest.raises(GateRefused, match="is not published"):
        again(base, lambda *_: None, replace(FAST, weighting=wrong))


def test_a_spectrum_that_did_not_converge_is_refused(base):
    with unconverged(), pytest.raises(GateRefused, match="is not published"):
        again(base, lambda *_: None, full=True)
    assert "vectors moved" in gates_of(base)
