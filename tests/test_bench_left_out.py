"""Constants are settled by all sets but the one they are measured on."""

import pytest

from benchmarks import _left_out, _sets
from benchmarks._left_out import CONSTANTS, changed, rows_of
from benchmarks._worlds import world
from embeddings.item_item import worth
from recommender.learning.build import RefreshConfig


def test_each_set_gets_the_value_that_the_others_have_the_most_of():
    """2 gains a tenth on two sets and loses a half on the third."""
    figures = {
        "a": {1.0: 0.10, 2.0: 0.11},
        "b": {1.0: 0.20, 2.0: 0.22},
        "c": {1.0: 0.40, 2.0: 0.20},
    }
    rows = {row["set"]: row for row in rows_of("SIZE", 1.0, figures)}
    assert {name: row["others settle on"] for name, row in rows.items()} == {
        "a": 1.0,  # +.1 and -.5
        "b": 1.0,
        "c": 2.0,  # +.1 twice
    }
    assert {name: row["change"] for name, row in rows.items()} == {"a": 0, "b": 0, "c": -0.5}


def test_what_all_values_leave_alone_stays_as_it_is():
    same = {"a": {1.0: 0.5, 2.0: 0.5, 3.0: 0.5}, "b": {1.0: 0.5, 2.0: 0.5, 3.0: 0.5}}
    assert {row["others settle on"] for row in rows_of("SIZE", 2.0, same)} == {2.0}


def test_what_the_program_has_is_among_the_values():
    for constant in CONSTANTS:
        assert constant.now in constant.values
        assert len(set(constant.values)) > 1


def test_a_constant_is_changed_while_it_is_tried_and_not_longer():
    caution = next(constant for constant in CONSTANTS if constant.name == "CAUTION")
    with pytest.raises(RuntimeError), changed(caution, 7.0):
        assert worth.CAUTION == 7.0
        raise RuntimeError
    assert caution.now == worth.CAUTION == 1.0


def test_a_stopped_run_goes_on_from_its_results(tmp_path, monkeypatch):
    """Two sets, one constant: three qualities each are asked for once, and none of them again."""
    caution = CONSTANTS[0]
    monkeypatch.setattr(_left_out, "CONSTANTS", (caution,))
    monkeypatch.setattr(_sets, "parts", lambda *_: (world("tiny", 1), None))
    tried = []

    def quality(*_):
        tried.append(worth.CAUTION)
        return 0.1 * len(tried)

    monkeypatch.setattr(_left_out, "quality", quality)
    arguments = ["a", "b"], RefreshConfig(), tmp_path, tmp_path / "results.jsonl", lambda _: None
    table = _left_out.left_out(*arguments)
    assert tried == [1.0, 0.0, 2.0] * 2
    assert _left_out.left_out(*arguments) == table
    assert len(tried) == 6
    # a has .1, .2, .3 with 1, 0, 2, and b .4, .5, .6: each of them would settle on 2.
    assert [row["change"] for row in table] == [pytest.approx(2.0), pytest.approx(0.5)]
