"""What a release knows about an item or a user, in the fields of `load`."""

from typing import Any

import numpy as np

from graph.model import NO_ROW, NO_TIME, tag_parts
from recommender.overlay.overlay import Overlay
from recommender.releases.release import Release


def known_item(overlay: Overlay, item: str) -> dict[str, Any] | None:
    """An item in the form of `recommender.inbox.known`; None: the release does not have it.

    Weights of tags are not shown: a release holds what was learned from them.
    """
    release = overlay.release
    row = release.items.row(item)
    if row == NO_ROW:
        return None
    card = release.card(row)
    created_at = int(release.created_at[row])
    return {
        "id": item,
        "title": card["title"] or None,
        "created_at": None if created_at == NO_TIME else created_at,
        "hidden": bool(overlay.hidden[row]),
        "attributes": card["attributes"] or None,
        "tags": [
            dict(zip(("category", "tag"), tag_parts(release.tags.id(tag)), strict=True))
            for tag in _tags(release, row)
        ],
        "domains": [{"domain": release.domains.id(domain)} for domain in _domains(release, row)],
    }


def known_user(overlay: Overlay, user: str) -> dict[str, Any] | None:
    """A user in the form of `recommender.inbox.known`; None: the release does not know them."""
    row = overlay.user_row(user)
    if row == NO_ROW:
        return None
    attributes = overlay.release.user_attributes(row)
    known: dict[str, Any] = {"id": user} | ({"attributes": attributes} if attributes else {})
    return known if overlay.release.may_learn_from(row) else known | {"consent": {"train": False}}


def _tags(release: Release, row: int) -> list[int]:
    tagged = release.tags_given[release.item_tags.span(row)]
    tags: list[int] = np.sort(release.item_tags.of(row)[tagged]).tolist()
    return tags


def _domains(release: Release, row: int) -> list[int]:
    if release.manifest["domains_from"] != "given":
        return []
    domains: list[int] = np.sort(release.item_domains.of(row)).tolist()
    return domains
