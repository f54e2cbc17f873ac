"""Parts of the data: drawn by ids and seed alone, the newest pairs of each user for tests."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from embeddings.hold_out import taken
from graph.model import NO_TIME
from graph.vocabulary import Vocabulary
from recommender.learning import split


def pairs_of(histories, at=None, seed=0):
    """Pairs of {user id: [item ids]}; `at` maps (user, item) to seconds."""
    users = Vocabulary.of(histories)
    items = Vocabulary.of(i for some in histories.values() for i in some)
    both = sorted((users.row(u), items.row(i)) for u, some in histories.items() for i in some)
    rows = np.array([u for u, _ in both], np.int64)
    columns = np.array([i for _, i in both], np.int64)
    times = [(at or {}).get((users.id(u), items.id(i)), NO_TIME) for u, i in both]
    keys = split.pair_keys(users, items, rows, columns, seed)
    return users, items, split.Pairs(rows, columns, np.array(times, np.int64), keys)


def named(users, items, pairs, chosen):
    return {
        (users.id(u), items.id(i))
        for u, i in zip(pairs.users[chosen], pairs.items[chosen], strict=True)
    }


HISTORIES = {f"u{u}": [f"i{(u * 7 + j * 3) % 40}" for j in range(2 + u % 13)] for u in range(60)}


def test_the_key_of_a_pair_is_the_documented_one():
    import hashlib

    def mix(z):
        m = 2**64
        z = (z + 0x9E3779B97F4A7C15) % m
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % m
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % m
        return z ^ (z >> 31)

    def of(name, person):
        digest = hashlib.blake2b(name.encode(), digest_size=8, person=person).digest()
        return int.from_bytes(digest, "little")

    users, items, pairs = pairs_of({"é/ü": ["a b", "c"]}, seed=-3)
    for u, i, key in zip(pairs.users, pairs.items, pairs.keys, strict=True):
        user, item = of(users.id(u), b"user"), of(items.id(i), b"item")
        assert int(key) == mix(mix((user - 3) % 2**64) ^ item)


def test_another_process_draws_the_same_parts():
    code = (
        "import sys; sys.path.insert(0, 'tests'); import test_split as t; "
        "u, i, p = t.pairs_of(t.HISTORIES, seed=5); print(t.split.pair_parts(p).tolist())"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    _, _, pairs = pairs_of(HISTORIES, seed=5)
    assert result.stdout.strip() == str(split.pair_parts(pairs).tolist())


def test_new_users_and_items_move_nobody_elses_pairs():
    users, items, pairs = pairs_of(HISTORIES)
    more = {**HISTORIES, "a-new-user": ["i0", "i1", "an-item-in-between", "i3", "i4", "i5"]}
    users2, items2, pairs2 = pairs_of(more)
    for part in (split.SELECT, split.GATE):
        before = named(users, items, pairs, split.pair_parts(pairs) == part)
        after = named(users2, items2, pairs2, split.pair_parts(pairs2) == part)
        assert before == {pair for pair in after if pair[0] != "a-new-user"}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=12), st.integers(-5, 5))
def test_every_user_gives_the_documented_number_to_each_part(sizes, seed):
    histories = {f"u{u}": [f"i{j}" for j in range(n)] for u, n in enumerate(sizes) if n}
    users, _, pairs = pairs_of(histories, seed=seed)
    parts = split.pair_parts(pairs)
    for name, items in histories.items():
        n = len(items)
        mine = parts[pairs.users == users.row(name)]
        expected = 0 if n < split.MINIMUM_HISTORY else max(1, int(0.1 * n + 0.5))
        assert (mine == split.SELECT).sum() == (mine == split.GATE).sum() == expected
        assert (mine == split.FIT).any()


def test_halves_round_up_and_short_histories_give_nothing():
    assert taken([4, 5, 7, 8, 12, 13], 0.2, 5).tolist() == [0, 1, 1, 2, 2, 3]
    assert taken([1, 2], 0.9, 1).tolist() == [0, 1]  # something always stays


def test_seeds_draw_different_parts():
    _, _, a = pairs_of(HISTORIES, seed=0)
    _, _, b = pairs_of(HISTORIES, seed=1)
    assert (split.pair_parts(a) != split.pair_parts(b)).mean() > 0.1


def test_the_time_split_takes_the_last_fifth_and_never_what_has_no_time():
    histories = {"u": [f"i{j}" for j in range(10)]}
    at = {("u", f"i{j}"): 100 + j for j in range(9)}  # i9 has no time
    users, items, pairs = pairs_of(histories, at)
    chosen = split.held_out(pairs, "time")
    assert named(users, items, pairs, chosen) == {("u", "i8"), ("u", "i7")}


def test_pairs_of_one_second_are_drawn_by_key():
    histories = {"u": [f"i{j}" for j in range(10)]}
    _, _, pairs = pairs_of(histories, {("u", f"i{j}"): 5 for j in range(10)})
    chosen = split.held_out(pairs, "time")
    assert (chosen == split.held_out(pairs, "random")).all()
    assert set(pairs.keys[chosen]) == set(np.sort(pairs.keys)[:2])


def test_a_global_cut_has_the_past_on_one_side_and_the_future_on_the_other():
    histories = {f"u{u}": [f"i{j}" for j in range(10)] for u in range(3)}
    at = {(f"u{u}", f"i{j}"): 10 * u + j for u in range(3) for j in range(10)}
    _, _, pairs = pairs_of(histories, at)
    chosen = split.held_out(pairs, "global time", share=0.2)
    assert chosen.sum() == 5  # 20 % of 30 come at or after second 24, the cut itself stays
    assert pairs.at[chosen].min() > pairs.at[~chosen].max()
    _, _, undated = pairs_of(histories)
    assert not split.held_out(undated, "global time").any()


def test_cold_items_are_a_tenth_drawn_by_id():
    items = Vocabulary.of(f"i{j}" for j in range(200))
    cold = split.cold_items(items, seed=3)
    assert cold.sum() == 20
    assert (cold == split.cold_items(items, seed=3)).all()
    assert (cold != split.cold_items(items, seed=4)).any()


def test_the_time_of_a_pair_is_that_of_its_last_event_of_any_kind():
    events = SimpleNamespace(
        user=np.array([0, 0, 0, 1], np.int32),
        item=np.array([1, 1, 2, 0], np.int32),
        at=np.array([7, 9, 5, NO_TIME]),
    )
    snapshot = SimpleNamespace(
        users=Vocabulary.of(["a", "b"]), items=Vocabulary.of(["x", "y", "z"]), events=events
    )
    weights = csr_array(np.array([[0, 2.0, 0], [1.0, 0, 0]], np.float32))  # (a, z) is not relevant
    pairs = split.relevant_pairs(snapshot, weights, seed=0)
    assert pairs.users.tolist() == [0, 1]
    assert pairs.items.tolist() == [1, 0]
    assert pairs.at.tolist() == [9, NO_TIME]


def test_nothing_gives_nothing():
    _, _, pairs = pairs_of({})
    assert len(split.pair_parts(pairs)) == 0
    assert len(split.held_out(pairs, "time")) == 0


@pytest.mark.parametrize("how", ["time", "random"])
def test_what_is_held_out_is_a_fifth_of_each_long_history(how):
    users, _, pairs = pairs_of(HISTORIES, seed=2)
    chosen = split.held_out(pairs, how)
    for u in range(len(users)):
        n = int((pairs.users == u).sum())
        assert chosen[pairs.users == u].sum() == taken(n, 0.2, 5)
