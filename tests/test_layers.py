"""Two dictionaries, one over the other, read as one."""

import pytest

from recommender.overlay.layers import LEAST, Layers


def test_the_newer_layer_counts_and_what_is_missing_is_missing():
    layers = Layers({"a": 1, "b": 2}, {"b": 3}).with_({"c": 0})
    assert dict(layers) == {"a": 1, "b": 3, "c": 0}
    assert [layers.get(key) for key in "abcd"] == [1, 3, 0, None]
    assert layers.get("d", 7) == 7
    assert [key in layers for key in ("a", "c", "d", 1)] == [True, True, False, False]
    assert len(layers) == 3
    with pytest.raises(KeyError):
        layers["d"]


@pytest.mark.parametrize("layers", [Layers(), Layers({"a": 1}), Layers({}, {"a": 1})])
def test_layers_are_true_if_they_hold_anything(layers):
    assert bool(layers) == (len(layers) > 0)


def test_a_newer_layer_that_has_grown_is_merged():
    grown = Layers({"a": 1}, {str(number): number for number in range(LEAST)})
    assert dict(grown.settled()) == dict(grown)
    assert dict(grown.settled(lambda value: value < 2)) == {"a": 1, "0": 0, "1": 1}
