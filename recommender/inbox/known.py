"""What is known about an item or a user after each fact about it.

The rules are those of the drain, so that a `GET` answers what the store will contain, even before
it does.
"""

from collections.abc import Iterable
from typing import Any

from recommender.inbox.facts import (
    CONSENT,
    DELETE,
    ITEM_UNDONE,
    PATCH,
    PURPOSES,
    PUT,
    USER_PUT,
    USER_UNDONE,
    Row,
)

Known = dict[str, Any]  # fields as `facts` describes them; lists in the order of their keys

_LISTS = {"item_tags": ("tags", ("category", "tag")), "item_domains": ("domains", ("domain",))}


def item_after(known: Known | None, facts: Iterable[Row], item: str) -> Known | None:
    """An item after facts about it (others are left out); None: nobody knows it, or it is gone."""
    bare: Known = {"id": item, "hidden": False}
    for row in facts:
        payload = row.payload
        if payload.get("item" if row.kind in _LISTS else "id") != item:
            continue
        if row.kind == PUT:
            known = {"id": item, "hidden": False} | payload
        elif row.kind == ITEM_UNDONE:
            known = {"hidden": False, **payload["now"]} if "now" in payload else None
        elif row.kind == DELETE:
            known, bare["hidden"] = None, True  # what is said later shows it only where it says so
        elif row.kind == PATCH:
            known = bare | (known or {}) | payload
            known["hidden"] = bool(known["hidden"])
        elif row.kind == "items":
            known = bare | (known or {}) | payload
        elif row.kind in _LISTS:
            known = bare | (known or {})
            name, key = _LISTS[row.kind]
            entry = {field: value for field, value in payload.items() if field != "item"}
            known[name] = _with(known.get(name), entry, key)
    if known is None:
        return None
    return {field: value for field, value in known.items() if value is not None and value != []}


def user_after(known: Known | None, facts: Iterable[Row], user: str) -> Known | None:
    """A user after facts about her, events among them; None: nobody knows her."""
    for row in facts:
        payload = row.payload
        if row.kind == "events" and payload["user"] == user:
            known = known or {"id": user}
        elif payload.get("id") != user:
            continue
        elif row.kind == USER_UNDONE and "now" not in payload:
            known = None
        elif row.kind in (USER_PUT, USER_UNDONE):
            known = {name: value for name, value in (known or {}).items() if name == "consent"}
            known |= payload.get("now", payload)
        elif row.kind == CONSENT:
            known = {"id": user} | (known or {})
            known["consent"] = known.get("consent", {}) | payload["consent"]
        elif row.kind == "users":
            known = {"id": user} | (known or {}) | _loaded(payload)
    return known


def _loaded(payload: Known) -> Known:
    """A row of `users`, whose consent is one word for every purpose."""
    if "consent" not in payload:
        return payload
    return payload | {"consent": dict.fromkeys(PURPOSES, payload["consent"])}


def _with(entries: Any, entry: Known, key: tuple[str, ...]) -> list[Known]:
    kept = [
        kept_entry
        for kept_entry in entries or ()
        if any(kept_entry[name] != entry[name] for name in key)
    ]
    return [*kept, entry]
