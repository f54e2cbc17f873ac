"""Why an item is shown: the history items that carry its score, in words without ids.

The score is a sum over the history (see `recommender.ranking.candidates`), so the share of each
history item is exact: if it is taken out of the history, the score falls by just that share.
What connects a history item with the item shown is a relation between the two, or else a tag that
both carry, or else the people who chose both; of these only the number is given, never names.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from graph.explore import why_cypher
from graph.model import tag_parts
from recommender.ranking.request import Reason
from recommender.ranking.sources import FRIENDS, IN_DOMAIN, SEQUENCE, TRENDING
from recommender.releases.release import Release
from recommender.serving.evidence import MOST_REASONS
from recommender.serving.rules import PINNED, SPONSORED
from recommender.serving.subject import Subject
from recommender.serving.telling import FEWEST_PEOPLE

HALF_AS_RARE = 0.5

_NEAR = {
    "tags": "is close to items tagged “{}”",
    "domains": "is close to items of “{}”",
    "words": "is close to items with “{}” in the title",
    "texts": "is close to items with “{}” in the title or the text",
    "numbers": "is close to items with a similar {}",
    "related": "is close to “{}”",
}
_NODES = {"tags": "Tag", "domains": "Domain"}


def reasons_apart_from_history(
    release: Release, subject: Subject, item: int, source: str
) -> tuple[Reason, ...]:
    """Reasons for an item that a rule placed, or that no entry of the history explains.

    Args:
        release: what is served.
        subject: who asked.
        item: the row of the item shown.
        source: what proposed it, or the label of the rule that placed it.
    """
    if source in (PINNED, SPONSORED):
        return (_placed(release, item, source),)
    if source == SEQUENCE:
        return (_foretold(release, subject, item),)
    pulled = _from_new_item(release, subject, item, source)
    if pulled:
        return pulled
    carried = set(tag_rows(release, item).tolist())
    for tag in subject.tags:
        if tag in carried:
            return (_asked_for(release, item, tag),)
    if source == FRIENDS:
        return (_friends(release, subject, item),)
    if source == TRENDING:
        return (_lately(release, item),)
    if source in release.sources and len(subject.items):
        pulled = _near(release, subject, item, source)
        if pulled:
            return pulled
    for near in subject.items.tolist():
        shared = shared_tag(release, near, item)
        if shared is not None:
            return (_like_history(release, near, item, *shared),)
    domains = domains_of(release, item)
    return _popular(release, subject, item, domains[0] if source == IN_DOMAIN and domains else None)


def cypher(release: Release, user: str | None, item: str, reason: Reason) -> why_cypher.Cypher:
    """The query that shows a reason's path in the graph, and its parameters."""
    if reason.because is None:
        if reason.tag is not None:
            return why_cypher.carries_tag(reason.tag, item)
        if reason.through == "friends" and user is not None:
            return why_cypher.through_friends(user, item, _choosing(release))
        return why_cypher.through_popularity(item)
    if reason.through == "relation":
        return why_cypher.through_relation(user, reason.because, item)
    if reason.through == "vectors":
        return why_cypher.through_vectors(reason.because, item)
    if reason.through == "tag" and reason.tag is not None:
        return why_cypher.through_tag(user, reason.because, reason.tag, item)
    if reason.through == "written tag" and reason.tag is not None:
        return why_cypher.through_written_tag(user, reason.because, reason.tag, item)
    return why_cypher.through_people(user, reason.because, item, _choosing(release))


def _choosing(release: Release) -> why_cypher.Choosing:
    """The kinds of events that count as choosing an item; older releases do not hold them."""
    kinds = release.manifest.get("speaking")
    if kinds is None:
        return why_cypher.ALL_CHOOSE
    return why_cypher.Choosing(kinds, frozenset(release.event_kinds) - frozenset(kinds))


def _from_new_item(
    release: Release, subject: Subject, item: int, source: str
) -> tuple[Reason, ...]:
    """Why a new item is near this one: its vector is a sum of parts, so the shares are exact."""
    if subject.placed is None or source not in subject.placed.parts:
        return ()
    pulls = subject.placed.parts[source] @ release.vectors[source][item]  # (k, d) @ (d,)
    total = float(np.maximum(pulls, 0).sum())
    found_reasons = []
    for at in np.argsort(-pulls, kind="stable")[:MOST_REASONS].tolist():
        if pulls[at] <= 0:
            break
        kind, name = subject.placed.names[at]
        path = [_edge("both", "NEAR", source), _item(release, item)]
        if kind == "related":
            near = _item(release, int(release.items.row(name)))
            path, name = [near, *path], near["text"]
        elif kind in _NODES:
            path = [_node(_NODES[kind], name), *path]
        share = round(float(pulls[at]) / total, 4)
        found_reasons.append(
            Reason(
                text=_NEAR[kind].format(name),
                path=tuple(path),
                share=share,
                because=None,
                through="vectors",
            )
        )
    return tuple(found_reasons)


def _asked_for(release: Release, item: int, tag: int) -> Reason:
    """The reason for an item that was proposed because it carries a tag."""
    name = tag_parts(release.tags.id(tag))[1]
    path = (_node("Tag", name), _edge("", "HAS_TAG", ""), _item(release, item))
    return Reason(
        text=f"tagged “{name}”", path=path, share=1.0, because=None, through="tag", tag=name
    )


def _friends(release: Release, subject: Subject, item: int) -> Reason:
    """The reason for an item that friends chose: how many friends, never who."""
    chosen = release.item_users.of(item)
    count = int(np.count_nonzero(np.isin(subject.friends, chosen)))
    many = f"{count} of your friends"
    path = (_edge(many, "INTERACTED", ""), _item(release, item))
    return Reason(text=f"{many} chose it", path=path, share=1.0, because=None, through="friends")


def _foretold(release: Release, subject: Subject, item: int) -> Reason:
    """The reason for an item that a sequence model proposed: it read the order of everything, so no
    single item of the history explains it.
    """
    newest = title(release, int(subject.in_order[-1]))
    text = f"what a learned model of the order of things expects after “{newest}”"
    return Reason(text=text, path=(_item(release, item),), share=1.0, through="sequence")


def _like_history(release: Release, source: int, item: int, tag: str, through: str) -> Reason:
    """The reason for an item that shares a tag with the history and is not in the table's rows."""
    text = f"tagged “{tag}” like “{title(release, source)}”"
    path = (
        _item(release, source), _edge("both", "HAS_TAG", ""), _node("Tag", tag),
        _edge("", "HAS_TAG", ""), _item(release, item),
    )  # fmt: skip
    return Reason(
        text=text, path=path, share=1.0, because=release.items.id(source), through=through, tag=tag
    )


def _near(release: Release, subject: Subject, item: int, source: str) -> tuple[Reason, ...]:
    """The reason for an item that learned vectors proposed: the history item nearest to it.

    None for an item without a single edge: its vector is only noise.
    """
    if not (
        len(release.item_users.of(item)) or len(tag_rows(release, item)) or _related(release, item)
    ):
        return ()
    target, queries = release.vectors[source][item], release.queries[source]
    old = subject.items[subject.items < len(queries)]  # items that came since have no vector
    weights = subject.weights[subject.items < len(queries)]
    pull = (queries[old] @ target) * weights  # (h, d) @ (d,) -> (h,)
    if len(old) == 0:
        return ()
    best = int(pull.argmax())
    if pull[best] <= 0:
        return ()
    share = float(pull[best]) / float(np.maximum(pull, 0).sum())
    near = int(old[best])
    text = f"is close to “{title(release, near)}” in the graph"
    path = (_item(release, near), _edge("both", "NEAR", source), _item(release, item))
    return (
        Reason(
            text=text,
            path=path,
            share=round(share, 4),
            because=release.items.id(near),
            through="vectors",
        ),
    )


def _lately(release: Release, item: int) -> Reason:
    """The reason for an item that is trending; how many chose it is left out, since it fades."""
    path = (_item(release, item),)
    return Reason(text="chosen by many people lately", path=path, share=1.0, through="trending")


def _popular(
    release: Release, subject: Subject, item: int, domain: str | None
) -> tuple[Reason, ...]:
    """The reason for an item that fills a list because it is popular; none if nobody chose it."""
    chosen_by = release.item_users.of(item)
    people = int(np.count_nonzero(~np.isin(chosen_by, subject.uncounted)))
    if people == 0:
        return ()
    if people > 1 and _much_chosen(release, item, domain):
        text = f"popular in {domain}" if domain else "popular with everyone"
    elif people >= FEWEST_PEOPLE:
        text = f"chosen by {people} people"
    else:
        text = "chosen by a few people" if people > 1 else "chosen by somebody"
    return (
        Reason(text=text, path=(_item(release, item),), share=1.0, because=None, through="popular"),
    )


def _much_chosen(release: Release, item: int, domain: str | None) -> bool:
    """Whether an item is nearer to the most chosen one, of all or of a domain, than to none."""
    if domain is None:
        return float(release.rarity[item]) <= HALF_AS_RARE
    others = release.domain_items.of(release.domains.row(domain))
    most = float(release.popularity[others].max(initial=0))
    return np.log1p(float(release.popularity[item])) >= HALF_AS_RARE * np.log1p(most)


def _placed(release: Release, item: int, label: str) -> Reason:
    text = "sponsored" if label == SPONSORED else "chosen by the editors"
    return Reason(text=text, path=(_item(release, item),), share=1.0, because=None, through="rule")


def _item(release: Release, row: int) -> dict[str, str]:
    return {"node": "Item", "text": title(release, row), "id": release.items.id(row)}


def _node(label: str, name: str) -> dict[str, str]:
    return {"node": label, "text": name, "id": name}


def _edge(owner: str, relationship: str, text: str) -> dict[str, str]:
    return {"relationship": relationship, "of": owner, "text": text}


def _related(release: Release, item: int) -> bool:
    """Whether a relation starts or ends at an item."""
    relations = release.relations
    return bool(len(relations.of(item)) or (relations.indices == item).any())


def shared_tag(release: Release, item: int, other_item: int) -> tuple[str, str] | None:
    """The rarest tag that two items share, and how: a "tag" of both, or a "written tag"."""
    both, here, there = np.intersect1d(
        tag_rows(release, item),
        tag_rows(release, other_item),
        assume_unique=True,
        return_indices=True,
    )
    if len(both) == 0:
        return None
    indptr = release.tag_items.indptr
    tagged = _tags_given(release, item)[here] & _tags_given(release, other_item)[there]
    best = np.lexsort((indptr[both + 1] - indptr[both], ~tagged))[0]
    name = tag_parts(release.tags.id(int(both[best])))[1]
    return name, "tag" if tagged[best] else "written tag"


def tag_rows(release: Release, item: int) -> Any:
    """Rows of an item's tags, i32."""
    return np.asarray(release.item_tags.of(item))


def _tags_given(release: Release, item: int) -> Any:
    return np.asarray(release.tags_given[release.item_tags.span(item)])


def domains_of(release: Release, item: int) -> tuple[str, ...]:
    """Names of an item's domains, strongest first."""
    return tuple(release.domains.ids(release.item_domains.heaviest(item)))


def title(release: Release, item: int) -> str:
    """An item's title, or its id where it has none."""
    return str(release.card(item).get("title") or release.items.id(item))


def drawn(reasons: Sequence[Reason]) -> list[str]:
    """Each reason's path as one line of text, with its share of the score."""
    lines = []
    for reason in reasons:
        steps: list[str] = []
        for part in reason.path:
            if "node" in part:
                steps.append(f"({part['node']} {part['text']})")
            else:
                start = "" if part["of"] in ("both", "") else f"({part['of']}) "
                text = f" {part['text']}" if part["text"] else ""
                steps.append(f"{start}─[{part['relationship']}{text}]─")
        lines.append(f"{reason.share:4.0%}  {' '.join(steps)}")
    return lines
