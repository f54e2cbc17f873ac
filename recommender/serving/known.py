"""What a release knows of one item or one user, in the fields of `load`."""

from typing import Any

import numpy as np

from graph.model import NO_ROW, NO_TIME, tag_parts
from recommender.releases.release import Release


def known_item(release: Release, item: str) -> dict[str, Any] | None:
    """An item as `recommender.inbox.known` tells of it; None: the release does not have it.

    Weights of tags are not told: a release holds what was learned from them.
    """
    row = release.items.row(item)
    if row == NO_ROW:
        return None
    card = release.card(row)
    created_at = int(release.arrays["created_at"][row])
    return {
        "id": item,
        "title": card["title"] or None,
        "created_at": None if created_at == NO_TIME else created_at,
        "hidden": bool(release.arrays["hidden"][row]),
        "attributes": card["attributes"] or None,
        "tags": [
            dict(zip(("category", "tag"), tag_parts(release.tags.id(tag)), strict=True))
            for tag in _tags(release, row)
        ],
        "domains": [{"domain": release.domains.id(domain)} for domain in _domains(release, row)],
    }


def known_user(release: Release, user: str) -> dict[str, Any] | None:
    """A user as `recommender.inbox.known` tells of them; None: the release does not know them."""
    return None if release.users.row(user) == NO_ROW else {"id": user}


def _tags(release: Release, row: int) -> list[int]:
    start, end = release.arrays["item_tags.indptr"][row : row + 2]
    given = release.arrays["item_tags.given"][start:end]
    tags: list[int] = np.sort(release.arrays["item_tags.indices"][start:end][given]).tolist()
    return tags


def _domains(release: Release, row: int) -> list[int]:
    if release.manifest["domains_from"] != "given":
        return []
    start, end = release.arrays["item_domains.indptr"][row : row + 2]
    domains: list[int] = np.sort(release.arrays["item_domains.indices"][start:end]).tolist()
    return domains
