"""Why an item is shown: the history items that carry its score, told without ids.

The score is a sum over the history (see `recommender.candidates`), so the share of each
history item is exact: take the item out of the history, and the score falls by that share.
"""

from typing import Any

import numpy as np

from graph.model import tag_parts
from recommender.candidates import F32, I32
from recommender.release import Release
from recommender.request import Reason

MOST_REASONS = 3
VERBS = {
    "view": "viewed",
    "like": "liked",
    "save": "saved",
    "play": "played",
    "rating": "rated",
    "tag": "tagged",
    "buy": "bought",
    "visit": "visited",
}


def contributions(release: Release, item: int, history: I32, weights: F32) -> F32:
    """(h,) what each history item adds to the item's score in the table; they sum to it."""
    hits = release.arrays["table.neighbours"][history] == item  # (h, k)
    strengths = np.where(hits, release.arrays["table.scores"][history], 0)
    result: F32 = strengths.sum(axis=1) * weights
    return result


def reasons(
    release: Release, item: int, history: I32, weights: F32, kinds: list[str]
) -> tuple[Reason, ...]:
    """At most three reasons, strongest first; none where the table holds no path.

    Args:
        release: what is served.
        item: the row of the item shown.
        history: (h,) item rows of the subject's history.
        weights: (h,) their weights.
        kinds: (h,) what the subject did to each ("save", …).
    """
    shares = contributions(release, item, history, weights)
    total = float(shares.sum())
    if total <= 0:
        return ()
    strongest = np.argsort(-shares, kind="stable")[:MOST_REASONS]
    return tuple(
        _through_item(release, int(history[at]), item, kinds[at], float(shares[at]) / total)
        for at in strongest
        if shares[at] > 0
    )


def _through_item(release: Release, source: int, item: int, kind: str, share: float) -> Reason:
    verb = VERBS.get(kind, "chose")
    text = f"because you {verb} “{title(release, source)}”"
    path = [
        _edge("you", "INTERACTED", kind),
        _node("Item", title(release, source), release.items.id(source)),
    ]
    tag = shared_tag(release, source, item)
    if tag is not None:
        text += f", both tagged “{tag}”"
        path += [_edge("both", "HAS_TAG", ""), _node("Tag", tag, tag)]
    else:
        text += ", which the same people choose"
        path += [_edge("both", "INTERACTED", "by the same users")]
    path.append(_node("Item", title(release, item), release.items.id(item)))
    return Reason(text, tuple(path), round(share, 4))


def _node(label: str, text: str, name: str) -> dict[str, str]:
    return {"node": label, "text": text, "id": name}


def _edge(who: str, relationship: str, text: str) -> dict[str, str]:
    return {"relationship": relationship, "of": who, "text": text}


def through_tag(release: Release, tag: int) -> Reason:
    """For an item that was proposed because it carries a tag."""
    name = tag_parts(release.tags.id(tag))[1]
    return Reason(f"tagged “{name}”", (_node("Tag", name, name),), 1.0)


def like_history(release: Release, source: int, item: int, tag: str) -> Reason:
    """For an item that shares a tag with the history, where the table knows no path."""
    text = f"tagged “{tag}” like “{title(release, source)}”"
    path = (
        _node("Item", title(release, source), release.items.id(source)),
        _edge("both", "HAS_TAG", ""),
        _node("Tag", tag, tag),
        _node("Item", title(release, item), release.items.id(item)),
    )
    return Reason(text, path, 1.0)


def through_popularity(domain: str | None) -> Reason:
    """For an item that is shown because many chose it."""
    where = f"popular in {domain}" if domain else "popular with everyone"
    return Reason(where, (), 1.0)


def shared_tag(release: Release, one: int, other: int) -> str | None:
    """The rarest tag that two items share, by name."""
    mine, theirs = (tag_rows(release, row) for row in (one, other))
    both = np.intersect1d(mine, theirs)
    if len(both) == 0:
        return None
    indptr = release.arrays["tag_items.indptr"]
    rarest = both[np.argmin(indptr[both + 1] - indptr[both])]
    return tag_parts(release.tags.id(int(rarest)))[1]


def tag_rows(release: Release, item: int) -> Any:
    """Rows of an item's tags, i32."""
    indptr = release.arrays["item_tags.indptr"]
    return np.asarray(release.arrays["item_tags.indices"][indptr[item] : indptr[item + 1]])


def strongest_tags(release: Release, item: int, most: int = 5) -> tuple[str, ...]:
    """Names of an item's heaviest tags."""
    indptr = release.arrays["item_tags.indptr"]
    own = slice(indptr[item], indptr[item + 1])
    order = np.argsort(-release.arrays["item_tags.values"][own], kind="stable")[:most]
    rows = release.arrays["item_tags.indices"][own][order]
    return tuple(tag_parts(name)[1] for name in release.tags.ids(rows))


def domains_of(release: Release, item: int) -> tuple[str, ...]:
    """Names of an item's domains, strongest first."""
    indptr = release.arrays["item_domains.indptr"]
    own = slice(indptr[item], indptr[item + 1])
    order = np.argsort(-release.arrays["item_domains.values"][own], kind="stable")
    return tuple(release.domains.ids(release.arrays["item_domains.indices"][own][order]))


def title(release: Release, item: int) -> str:
    """An item's title, or its id where it has none."""
    return str(release.card(item).get("title") or release.items.id(item))
