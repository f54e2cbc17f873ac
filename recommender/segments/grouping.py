"""Which users are similar: users grouped at a refresh, and what marks each group, in words.

`membership.Segments` reads the result from a release and needs nothing but numpy. Users with too
little history are in the segment "new"; without scikit-learn, or with too few users, all others
are in one segment, "everyone".
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from graph.arrays import F32, F64, I16, I32, I64, Flags
from graph.model import NO_TIME
from graph.snapshot import EventColumns, GraphSnapshot
from graph.values import COUNT
from graph.weighted import WeightedGraph
from recommender.releases.people import NOTHING, user_attributes
from recommender.releases.release import Release
from recommender.segments.attributes import Encoding
from recommender.segments.features import (
    Catalogue,
    History,
    Layout,
    Scale,
    behaviour,
    layout,
    nearest,
    shares,
)
from recommender.segments.settings import EVERYONE, NEW, SegmentSettings
from recommender.segments.words import persona, title

FEWEST_USERS = 40  # users with enough history that grouping needs
SAME = 0.5  # of the groups' median distance; an old group nearer than that is the same
PAST = 0.8  # share of dated events before the moment from which forecasts are tried
NO_MEANINGS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Found:
    """What a refresh learned about segments."""

    arrays: dict[str, npt.NDArray[Any]]  # of the release
    manifest: dict[str, Any]
    points: F64  # (u, f) comparable features, for the report
    assigned: I16  # (u,) place in the names, -1 for "new"
    report: dict[str, Any] = field(default_factory=dict)


def find_segments(
    snapshot: GraphSnapshot,
    graph: WeightedGraph,
    vectors: F32,
    rarity: F32,
    settings: SegmentSettings,
    *,
    last: Release | None,
    seed: int,
    now: int,
    meanings: Mapping[str, str] = NO_MEANINGS,
) -> Found:
    """Group the users by what they do.

    Args:
        snapshot: their events.
        graph: the same, weighted.
        vectors: (i, v) of items; a user's vector is the weighted sum over the history.
        rarity: (i,) 0 … 1.
        settings: method, numbers of groups to try, weights of features.
        last: the release before; groups like its groups take over their names.
        seed: same data and seed, same groups.
        now: seconds since 1970.
        meanings: of kinds, what their values are.
    """
    events = snapshot.events
    catalogue = Catalogue(graph.item_domains, graph.item_tags, rarity, vectors)
    meant = tuple(meanings.get(kind.lower(), COUNT) for kind in snapshot.kinds)
    history = _history(events, graph.user_items, meant)
    wanted = layout(catalogue, list(graph.domains), snapshot.kinds, graph.user_items)
    dated = events.at[(events.at != NO_TIME) & (events.at <= now)]
    moment = int(dated.max()) if len(dated) else now  # old data is judged at its own end
    raw = behaviour(history, catalogue, wanted, moment)
    active = np.bincount(events.user, minlength=len(raw)) >= settings.minimum_events
    active &= np.diff(graph.user_items.indptr) > 0
    encoding, about = _attributes(snapshot, graph, wanted, raw, active, settings, seed)
    wanted = replace(wanted, attributes=encoding.columns)
    raw = np.concatenate([raw, about], axis=1)
    scale = Scale.of(raw[active] if active.any() else raw, wanted.groups, settings.weights)
    points = scale(raw)
    learned, note = _clustered(points[active], settings, seed)
    centroids = np.zeros((1, points.shape[1])) if learned is None else learned.centroids
    assigned = np.where(active, nearest(points, centroids), -1).astype(np.int16)
    members = raw[active]
    words: list[dict[str, Any]] = [{"conditions": [], "covers": 1.0, "pure": 1.0}]
    names = [EVERYONE]
    if learned is not None:
        from recommender.segments.clusters import marks

        spoken = [column for column, g in enumerate(wanted.groups) if g != "vectors"]
        features = [wanted.names[column] for column in spoken]
        words = marks(
            members[:, spoken], assigned[active].astype(np.int64), features, len(centroids)
        )
        deviations = centroids[:, spoken] / np.where(
            scale.weight[spoken] > 0, scale.weight[spoken], np.inf
        )
        names = _names(deviations, features, _kept_names(last, centroids, wanted, scale))
    groups = [
        {
            "name": name,
            "users": int((assigned == segment).sum()),
            "persona": persona(words[segment]["conditions"], name),
            **words[segment],
        }
        for segment, name in enumerate(names)
    ]
    manifest = {
        "method": settings.method if learned is not None else "none",
        "names": names,
        "features": list(wanted.names),
        "groups": list(wanted.groups),
        "domains": list(wanted.domains),
        "domain_names": list(wanted.domain_names),
        "attributes": encoding.to_json(),
        "meanings": list(meant),
        "minimum_events": settings.minimum_events,
        "moment": moment,
        "segments": [*groups, _new(int((~active).sum()), settings.minimum_events)],
        "note": note,
    }
    last_seen, first_seen = _seen(events.user, events.at, len(raw))
    foretold, forecasts = _forecasts(
        events, graph, catalogue, wanted, meant, scale, centroids, assigned, raw,
        settings.minimum_events, seed, learned is not None,
    )  # fmt: skip
    arrays = {
        "segments.centroids": centroids.astype(np.float64),
        "segments.scale": scale.array(),
        "segments.assigned": assigned,
        "segments.raw": raw.astype(np.float32),
        "segments.last_seen": last_seen,
        "segments.first_seen": first_seen,
        **foretold,
    }
    report = manifest | {
        "tried": [] if learned is None else [vars(attempt) for attempt in learned.tried],
        "stable": learned is not None and learned.stable,
        "importance": _importance(points[active], assigned[active], wanted.names),
        "forecasts": forecasts,
    }
    return Found(arrays=arrays, manifest=manifest, points=points, assigned=assigned, report=report)


def assigned_in(
    learned: Found,
    snapshot: GraphSnapshot,
    graph: WeightedGraph,
    catalogue: Catalogue,
) -> I16:
    """(u,) the number of each user's segment, found from a part of what the users did.

    Profiles are chosen by held-back pairs, so these must not decide who is in which segment.
    Otherwise a user whose held-back items are rare would be put among those who like rare items.

    Args:
        learned: what was found from all that the users did.
        snapshot: the part.
        graph: the part, weighted.
        catalogue: what features knew about items when the segments were found.
    """
    manifest, events = learned.manifest, snapshot.events
    wanted = Layout.read(manifest, snapshot.kinds)
    history = _history(events, graph.user_items, manifest["meanings"])
    raw = behaviour(history, catalogue, wanted, manifest["moment"])
    about = learned.arrays["segments.raw"][:, raw.shape[1] :]  # not known from one's own history
    points = Scale.read(learned.arrays["segments.scale"])(np.concatenate([raw, about], axis=1))
    active = np.bincount(events.user, minlength=len(points)) >= manifest["minimum_events"]
    active &= np.diff(graph.user_items.indptr) > 0
    places = nearest(points, learned.arrays["segments.centroids"])
    return np.where(active, places, -1).astype(np.int16)


def _forecasts(
    events: EventColumns, graph: WeightedGraph, catalogue: Catalogue, wanted: Layout,
    meanings: Sequence[str], scale: Scale, centroids: F64, assigned: I16,
    raw: F64, minimum: int, seed: int, learned: bool,
) -> tuple[dict[str, F32], dict[str, Any]]:  # fmt: skip
    """Chances that users move to another segment or come back, and how good they were on the past.

    The past ends when the share `PAST` of all dated events has happened.
    """
    dated = events.at != NO_TIME
    if not learned or not dated.any():
        return {}, {"note": "predictions need times and learned segments"}
    from recommender.segments.prediction import forecast  # scikit-learn: there, as segments are

    moment = int(np.quantile(events.at[dated], PAST))
    before = dated & (events.at <= moment)
    users, items = events.user[before].astype(np.int64), events.item[before].astype(np.int64)
    width = graph.user_items.shape[1]
    pairs = graph.user_items.tocoo()
    keys = pairs.coords[0].astype(np.int64) * width + pairs.coords[1]
    kept = np.isin(keys, users * width + items)
    then = csr_array(
        (pairs.data[kept], (pairs.coords[0][kept], pairs.coords[1][kept])),
        shape=graph.user_items.shape,
    )
    columns = {f.name: getattr(events, f.name)[before] for f in fields(events)}
    history = _history(EventColumns(**columns), then, meanings)
    past = behaviour(history, catalogue, wanted, moment)
    past = np.concatenate([past, raw[:, past.shape[1] :]], axis=1)
    active = (np.bincount(users, minlength=len(past)) >= minimum) & (np.diff(then.indptr) > 0)
    was = nearest(scale(past), centroids)
    after = np.zeros(len(past), np.bool_)
    after[events.user[dated & (events.at > moment)]] = True
    outcomes = {"returns": (active, after), "moves": (active & after, was != assigned)}
    arrays: dict[str, F32] = {}
    report: dict[str, Any] = {"moment": moment}
    for name, (at_risk, happened) in outcomes.items():
        forecasts = forecast(past[at_risk], happened[at_risk], raw, seed=seed)
        report[name] = forecasts.report
        if forecasts.chances is not None:
            chances = np.where(assigned >= 0, forecasts.chances, np.nan)
            arrays[f"segments.{name}"] = chances.astype(np.float32)
    return arrays, report


def _history(events: EventColumns, user_items: csr_array, meanings: Sequence[str]) -> History:
    return History(
        user_items=user_items,
        user=events.user,
        kind=events.kind,
        value=events.value,
        at=events.at,
        meanings=meanings,
    )


def _attributes(
    snapshot: GraphSnapshot, graph: WeightedGraph, wanted: Layout, raw: F64,
    active: Flags, settings: SegmentSettings, seed: int,
) -> tuple[Encoding, F64]:  # fmt: skip
    """What users say of themselves as features, (u, p); none without scikit-learn."""
    texts = user_attributes(snapshot)
    nothing = Encoding(), np.zeros((len(raw), 0))
    if not active.any() or all(texts[row] == NOTHING for row in np.flatnonzero(active)):
        return nothing
    try:
        from recommender.segments.attribute_learning import learn
    except ImportError:
        return nothing
    mix = shares(graph.user_items, graph.item_domains, wanted.domains)
    some = np.nan_to_num(mix).max(axis=1, initial=0) > 0
    chosen = np.full(len(mix), -1, np.int64)
    if mix.shape[1]:
        chosen[some] = np.nan_to_num(mix[some]).argmax(axis=1)
    near = Scale.of(raw[active], wanted.groups, settings.weights)(raw)
    return learn(
        [json.loads(text) for text in texts], active, chosen, wanted.domain_names, near,
        filling=settings.missing, seed=seed,
    )  # fmt: skip


def _clustered(points: F64, settings: SegmentSettings, seed: int) -> tuple[Any, str | None]:
    """A `Clustering`, or None and a sentence that says why not."""
    if settings.method == "none":
        return None, "segments.toml asks for no learned segments"
    if len(points) < max(FEWEST_USERS, 4 * settings.fewest):
        return None, f"only {len(points)} users have enough history to be grouped"
    try:
        from recommender.segments.clusters import cluster
    except ImportError:
        return None, "segments are learned by scikit-learn: install nichegraph[segments]"
    return cluster(points, settings.method, settings.fewest, settings.most, seed), None


def _names(deviations: F64, features: Sequence[str], kept: Mapping[int, str]) -> list[str]:
    """A name for each group, all distinct: the last release's, else what sets it apart most."""
    names: list[str] = []
    for number, row in enumerate(deviations):
        name = kept.get(number) or title(row, features, {*names, *kept.values()})
        names.append(name)
    return names


def _kept_names(
    last: Release | None, centroids: F64, wanted: Layout, scale: Scale
) -> dict[int, str]:
    """Names taken over: groups are matched so that distances have the least sum (Kuhn 1955).

    Only features of behaviour that both releases have are compared: vectors turn from one
    release to the next.
    """
    from scipy.optimize import linear_sum_assignment  # a second that no worker need wait

    report = last.segments if last is not None else None
    if last is None or report is None or report["method"] == "none":
        return {}
    old_names, groups = report["features"], dict(zip(wanted.names, wanted.groups, strict=True))
    shared = [name for name in wanted.names if name in old_names and groups[name] != "vectors"]
    here = [wanted.names.index(name) for name in shared]
    there = [old_names.index(name) for name in shared]
    before = Scale.read(last.segment_arrays["scale"])
    weighted = np.where(before.weight > 0, before.weight, np.inf)
    raw = last.segment_arrays["centroids"] / weighted * before.spread + before.mean
    old = ((raw[:, there] - scale.mean[here]) / scale.spread[here]) * scale.weight[here]
    new = centroids[:, here]
    distances = np.linalg.norm(new[:, None] - old[None], axis=2)  # (k, k before)
    apart = np.linalg.norm(new[:, None] - new[None], axis=2)
    limit = SAME * np.median(apart[apart > 0]) if (apart > 0).any() else np.inf
    rows, columns = linear_sum_assignment(distances)
    return {
        int(row): report["names"][column]
        for row, column in zip(rows, columns, strict=True)
        if distances[row, column] <= limit
    }


def _importance(points: F64, labels: I16, names: Sequence[str]) -> dict[str, Any]:
    """Share of each feature's variance that the groups explain (η²), largest first."""
    if len(points) == 0:
        return {}
    total = points.var(axis=0)
    between = np.zeros(points.shape[1])
    for label in np.unique(labels):
        own = points[labels == label]
        between += len(own) / len(points) * (own.mean(axis=0) - points.mean(axis=0)) ** 2
    explained = np.divide(between, total, out=np.zeros_like(total), where=total > 0)
    order = np.argsort(-explained, kind="stable")
    return {names[column]: round(float(explained[column]), 4) for column in order}


def _seen(user: I32, at: I64, users: int) -> tuple[I64, I64]:
    dated = at != NO_TIME
    last = np.full(users, NO_TIME, np.int64)
    first = np.full(users, np.iinfo(np.int64).max, np.int64)
    np.maximum.at(last, user[dated], at[dated])
    np.minimum.at(first, user[dated], at[dated])
    return last, np.where(last == NO_TIME, NO_TIME, first)


def _new(users: int, minimum: int) -> dict[str, Any]:
    words = f"fewer than {minimum} events so far"
    return {"name": NEW, "users": users, "persona": words, "conditions": []}
