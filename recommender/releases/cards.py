"""The JSON of each item, made once: answers are put together from it.

    {"item":"bwv-988","title":"Goldberg Variations","tags":["keyboard"],"domains":["baroque"],
     ├──────── said ──────────────────────────────────────────────────────────────────────┤
     "attributes":{"year":1741},"carried":["keyboard"],"named":true}

An answer contains the first part as it is; the rest is read when somebody asks for all that is
known of the item. An item without a title is shown by its id, and `named` is false. Letters beyond
ASCII are escaped in the first part, so that each byte is a letter and pieces are joined fast.
"""

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from graph.arrays import F32, I32, I64

STRONGEST = 5  # tags that say most of an item, shown before the others it carries


class Piece(NamedTuple):
    """What answers say of an item, in JSON."""

    shown: str  # the beginning of an object: id, title, tags and domains
    id: str
    title: str


class Card(NamedTuple):
    """A whole card, and where its parts end."""

    text: str
    id_end: int
    title_end: int
    piece_end: int

    @property
    def piece(self) -> Piece:
        """What answers say of it."""
        return read(self.text[: self.piece_end], self.id_end, self.title_end)


def read(shown: str, id_end: int, title_end: int) -> Piece:
    """The parts of what is shown."""
    return Piece(
        shown, shown[len('{"item":') : id_end], shown[id_end + len(',"title":') : title_end]
    )


def make_card(
    item: str,
    title: str | None,
    tags: Iterable[str],
    domains: Iterable[str],
    attributes: str,
    carried: Sequence[str],
) -> Card:
    """The card of an item.

    Args:
        item: its id.
        title: None or empty: it has none.
        tags: names of those that say most of it, the heaviest first.
        domains: names, the strongest first.
        attributes: as JSON.
        carried: names of the tags that it carries, the heaviest first.
    """
    first = f'{{"item":{_json(item)}'
    second = f'{first},"title":{_json(title or item)}'
    strongest = list(tags)[:STRONGEST]
    piece = (
        f'{second},"tags":{_json(list(dict.fromkeys((*strongest, *carried))))}'
        f',"domains":{_json(list(domains))}'
    )
    rest = f',"attributes":{attributes},"carried":{_json(carried)},"named":{_json(bool(title))}}}'
    return Card(piece + rest, len(first), len(second), len(piece))


def card_arrays(cards: Iterable[Card]) -> dict[str, npt.NDArray[Any]]:
    """The cards of all items as a release holds them."""
    made = list(cards)
    encoded = [card.text.encode() for card in made]
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(text) for text in encoded], out=offsets[1:])
    return {
        "cards.data": np.frombuffer(b"".join(encoded), np.uint8),
        "cards.offsets": offsets,
        "cards.parts": np.array([card[1:] for card in made], np.int32).reshape(-1, 3),
    }


def heaviest(indptr: I64, indices: I32, values: F32, names: Sequence[str]) -> list[list[str]]:
    """For each row the names of its entries, the heaviest first, equal ones as they stand."""
    owner = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    ordered = indices[np.lexsort((-values, owner))].tolist()
    return [[names[at] for at in ordered[a:b]] for a, b in pairwise(indptr.tolist())]


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
