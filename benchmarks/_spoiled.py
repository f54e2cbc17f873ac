"""Stores whose tables were spoiled, or grew honestly, on the way to a refresh.

`Tables` answers like a store; each function below changes its tables as something that goes wrong
at night would. All draw from the generator they are given.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from graph.domains import derive_domains
from graph.model import SCHEMAS
from graph.snapshot import take_snapshot

Change = Callable[[dict[str, pd.DataFrame], np.random.Generator], Any]


def unchanged(_tables, _rng):
    """The tables as they are."""


class Plain:
    """What a refresh reads of a store, from tables that are at hand."""

    uri = "spoiled"

    def __init__(self, tables, mark=0):
        self._mark = mark
        self._tables = {
            name: pa.Table.from_pandas(frame, SCHEMAS[name], preserve_index=False)
            for name, frame in tables.items()
        }

    def watermark(self):
        return self._mark

    def position(self, _source):
        return 0

    def loads(self):
        return []

    def read(self, table, *, until=None):  # noqa: ARG002 - as a store
        return self._tables[table]


class Tables(Plain):
    """The tables of a store, changed."""

    def __init__(self, store, change, rng, users=None):
        """Read a store, or of `users` of its users alone, drawn by chance; and change that."""
        tables = {
            name: store.read(name).cast(schema).to_pandas() for name, schema in SCHEMAS.items()
        }
        if users is not None:
            of_some(tables, users)
        change(tables, rng)
        super().__init__(tables, store.watermark())


def of_some(tables, users):
    """Leave a few users with their whole histories, and the items that these hold."""
    everybody = tables["events"].user.unique()
    count = min(users, len(everybody))
    drawn = set(np.random.default_rng(0).choice(everybody, count, replace=False))
    events = tables["events"] = tables["events"][tables["events"].user.isin(drawn)]
    items = set(events.item)
    tables["users"] = tables["users"][tables["users"].id.isin(drawn)]
    tables["items"] = tables["items"][tables["items"].id.isin(items)]
    for name in ("item_tags", "item_domains"):
        tables[name] = tables[name][tables[name].item.isin(items)]
    for name, ids in (("item_relations", items), ("user_relations", drawn)):
        both = tables[name].source.isin(ids) & tables[name].target.isin(ids)
        tables[name] = tables[name][both]


def shuffled(column):
    def change(tables, rng):
        events = tables["events"]
        events[column] = rng.permutation(events[column].to_numpy())

    return change


def half_lost(tables, rng):
    events = tables["events"]
    tables["events"] = events[rng.random(len(events)) < 0.5]


def kind_lost(tables, rng):
    events = tables["events"]
    kinds = sorted(events.kind.unique())
    gone = kinds[int(rng.integers(len(kinds)))]
    tables["events"] = events[events.kind != gone]


def domain_dropped(tables, rng):
    """All that was done with a large domain: one that the data names, a genre, or a community."""
    domains, events = tables["item_domains"], tables["events"]
    if len(domains):
        counts = events.item.map(domains.drop_duplicates("item").set_index("item").domain)
        large = counts.value_counts()
        large = large[large >= max(20, len(events) // 20)].index
        items = set(domains.item[domains.domain == large[int(rng.integers(len(large)))]])
    else:
        snapshot = take_snapshot(Plain(tables))
        links = derive_domains(snapshot).links
        large = np.argsort(-np.bincount(links.target))[:5]
        rows = links.source[links.target == large[int(rng.integers(len(large)))]]
        items = set(snapshot.items.ids(np.unique(rows).tolist()))
    tables["events"] = events[~events.item.isin(items)]


def users_swapped(tables, rng):
    events = tables["events"]
    users = events.user.unique()
    events["user"] = events.user.map(dict(zip(users, rng.permutation(users), strict=True)))


def times_reversed(tables, _rng):
    events = tables["events"]
    events["at"] = events["at"].max() + events["at"].min() - events["at"]


def tags_shuffled(tables, rng):
    tags, events = tables["item_tags"], tables["events"]
    written = events.tag.notna().to_numpy()
    events.loc[written, "tag"] = rng.permutation(events.tag[written].to_numpy())
    tags["item"] = rng.permutation(tags.item.to_numpy())
    tables["item_tags"] = tags.drop_duplicates(["item", "category", "tag"])


def doubled(column):
    """Every event once more under a second id."""

    def change(tables, _rng):
        again = tables["events"].copy()
        again[column] = again[column] + " (2)"
        again["event_id"] = None
        tables["events"] = pd.concat([tables["events"], again], ignore_index=True)

    return change


def items_of_another_catalogue(tables, _rng):
    events = tables["events"]
    events["item"] = "other " + events.item
    for name in ("items", "item_tags", "item_domains"):
        key = "id" if name == "items" else "item"
        tables[name][key] = "other " + tables[name][key]


def titles_emptied(tables, _rng):
    tables["items"]["title"] = None


SPOILS = {
    "labels shuffled": shuffled("item"),
    "half of the events lost": half_lost,
    "a kind lost": kind_lost,
    "a domain dropped": domain_dropped,
    "users swapped": users_swapped,
    "times reversed": times_reversed,
    "tags shuffled": tags_shuffled,
    "items doubled": doubled("item"),
    "users doubled": doubled("user"),
    "another catalogue's items": items_of_another_catalogue,
    "titles emptied": titles_emptied,
}


def forgotten(count):
    """A few items deleted, with all that was done to them."""

    def change(tables, rng):
        gone = set(rng.choice(tables["items"].id.to_numpy(), count, replace=False))
        tables["items"] = tables["items"][~tables["items"].id.isin(gone)]
        for name in ("events", "item_tags", "item_domains"):
            tables[name] = tables[name][~tables[name].item.isin(gone)]

    return change


def before(share):
    """The same without the last `share` of the events; those without a time lie anywhere."""

    def change(tables, rng):
        events = tables["events"]
        moments = events["at"].astype(float)
        dated = moments.dropna().to_numpy()
        anywhere = rng.choice(dated if len(dated) else [0.0], len(events))
        order = np.lexsort(
            (rng.random(len(events)), moments.fillna(pd.Series(anywhere, events.index)))
        )
        tables["events"] = events.iloc[np.sort(order[: int(len(events) * (1 - share))])]

    return change
