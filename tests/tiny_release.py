"""The smallest release there can be, for tests of how releases are written, kept and swapped."""

import numpy as np

from graph.vocabulary import Vocabulary
from recommender.releases.cards import card_arrays, make_card
from recommender.releases.contents import ARRAYS, PLACE, SOURCE
from recommender.releases.graph_arrays import text_arrays, vocabulary_arrays
from recommender.releases.publishing import seal, write_arrays


def tiny_arrays(number=0, items=3):
    """Every array that a release must have, of some items that nobody did anything with.

    `number` stands in every item's popularity, so that two releases can be told apart.
    """
    ids = Vocabulary.of(f"item {number}" for number in range(items))
    ids_of_one = Vocabulary.of(["one"])
    arrays = {
        **vocabulary_arrays("items", ids),
        **card_arrays(make_card(item, None, (), (), "{}", ()) for item in ids),
        **text_arrays("user_attributes", ["{}"]),
    }
    for key in ("users", "tags", "domains", "tag_names", "fold.words"):
        arrays |= vocabulary_arrays(key, ids_of_one)
    sizes = {"i": items, "k": 2, "l": 1, "k:tags": 1, "k:words": 1}
    for entry in ARRAYS:
        if entry.key in arrays or entry.optional or PLACE in entry.key:
            continue
        shape = [size(letter, sizes) for letter in entry.shape.replace(SOURCE, "spectral").split()]
        key = entry.key.replace(SOURCE, "spectral")
        arrays[key] = np.zeros(shape, entry.dtype)
    arrays["popularity"][:] = number
    return arrays


def size(letter, sizes):
    base, plus, _ = letter.partition("+")
    return sizes.get(base, 0 if base.startswith("n:") else 1) + bool(plus)


def tiny_manifest(watermark=0, **more):
    kinds = {"event_kinds": ["view"], "relation_kinds": [], "attributes": {}, "user_attributes": []}
    return {"watermark": watermark, "vectors": {"spectral": 0.0}, **kinds, **more}


def write_tiny(folder, number=0, watermark=0, items=3):
    write_arrays(folder, tiny_arrays(number, items))
    seal(folder, tiny_manifest(watermark))
