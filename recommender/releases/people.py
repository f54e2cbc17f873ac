"""What a release holds of people beside what they did: who may be learned from, what they say of
themselves, who their friends are.

Of users who do not agree to be learned from it holds only this, and what they never want to see.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from graph.event_keys import NO_KEY
from graph.snapshot import GraphSnapshot
from graph.weighted import WeightedGraph
from graph.weighting import HIDE
from recommender.releases.graph_arrays import Arrays, text_arrays
from recommender.releases.rows import list_rows

NOTHING = "{}"
MOST_NAMES = 1_000  # of attributes that a release lists


def people_arrays(snapshot: GraphSnapshot, graph: WeightedGraph) -> Arrays:
    """Consents, attributes, friends and what nobody wants to see again, of every user."""
    alone = _hidden_for_themselves(snapshot)
    return {
        "consents": snapshot.user_consents,
        "stated": snapshot.user_stated,
        **text_arrays("user_attributes", user_attributes(snapshot)),
        **list_rows("friends", graph.user_users),
        **list_rows("hides", csr_array(graph.user_hides + alone)),
        **list_rows("blocked", csr_array(graph.user_seen + graph.user_hides + alone)),
    }


def _hidden_for_themselves(snapshot: GraphSnapshot) -> csr_array:
    """(u, i) 1 where a user who may not be learned from hid an item: it holds for them alone."""
    events = snapshot.events
    hides = np.array([kind.lower() == HIDE for kind in snapshot.kinds], np.bool_)
    own = np.flatnonzero(~snapshot.user_consents[events.user] & hides[events.kind])
    shape = (len(snapshot.users), len(snapshot.items))
    pairs = np.unique(events.user[own].astype(np.int64) * max(shape[1], 1) + events.item[own])
    places = np.divmod(pairs, max(shape[1], 1))
    return csr_array((np.ones(len(pairs), np.float32), places), shape=shape)


def user_attributes(snapshot: GraphSnapshot) -> list[str]:
    """(u) JSON objects: what each user says of themselves; `{}` of who may not be learned from."""
    texts = snapshot.user_attributes.to_pylist()
    agreed = snapshot.user_consents.tolist()
    return [text if agrees else NOTHING for text, agrees in zip(texts, agreed, strict=True)]


def attribute_names(texts: Iterable[str]) -> list[str]:
    """The attributes that users have, those of the most users if there are very many."""
    counts = Counter(name for text in texts if text != NOTHING for name in json.loads(text))
    return sorted(name for name, _ in counts.most_common(MOST_NAMES))


def without(arrays: Mapping[str, Any], rows: Iterable[int]) -> Arrays:
    """The arrays of `people_arrays`, of segments and of events' ids, emptied for some users.

    Their attributes and features are gone, and they are nobody's friends.
    """
    gone = np.zeros(len(arrays["consents"]), np.bool_)
    gone[list(rows)] = True
    texts = _texts(arrays)
    indptr, friends = arrays["friends.indptr"], arrays["friends.indices"]
    owners = np.repeat(np.arange(len(gone)), np.diff(indptr))
    kept = ~gone[owners] & ~gone[friends]
    changed: Arrays = {
        **text_arrays("user_attributes", [NOTHING if gone[u] else t for u, t in enumerate(texts)]),
        "friends.indptr": np.searchsorted(owners[kept], np.arange(len(gone) + 1)),
        "friends.indices": friends[kept],
    }
    if "segments.raw" in arrays:
        raw = np.array(arrays["segments.raw"])
        raw[gone] = np.nan
        changed["segments.raw"] = raw
    if "events.key" in arrays:
        done_by = np.repeat(np.arange(len(gone)), np.diff(arrays["events.indptr"]))
        changed["events.key"] = np.where(gone[done_by], NO_KEY, arrays["events.key"])
    return changed


def _texts(arrays: Mapping[str, Any]) -> list[str]:
    data, offsets = arrays["user_attributes.data"], arrays["user_attributes.offsets"].tolist()
    joined = data.tobytes()
    return [joined[a:b].decode() for a, b in pairwise(offsets)]
