"""Segment: messages as they are archived, JSON Lines, mostly gzipped.

Source: the spec, https://segment.com/docs/connections/spec.
Licence: none is needed for events of your own.

Names of events and fields are those of its spec for e-commerce (version 2, and the older names)
and video. `userId` counts before `anonymousId`. A message that has both (`identify`, and others),
or an `alias`, says who an anonymous visitor was, for all messages of all files of the load; unless
several users had the same anonymous id, as on a shared computer.
"""

from collections.abc import Mapping
from dataclasses import replace

from loaders.exported import Message, Tracker, begins_with, files, messages_of, read
from loaders.format import Format, Options, Source
from loaders.json_lines import json_object

KINDS = {
    "product viewed": "view",
    "viewed product": "view",
    "product clicked": "click",
    "product added": "add",
    "added product": "add",
    "product added to wishlist": "add",
    "order completed": "purchase",
    "completed order": "purchase",
    "product reviewed": "rating",
    "video content completed": "play",
}


def _name(message: Message) -> str | None:
    what = message.get("event") or message.get("name") or message.get("type")
    return what if isinstance(what, str) else None


def _products(message: Message) -> list[tuple[str, Message]]:
    properties = message.get("properties")
    if not isinstance(properties, dict):
        return []
    listed = properties.get("products")
    if isinstance(listed, list):
        return [
            (f"properties.products[{number}]", product if isinstance(product, dict) else {})
            for number, product in enumerate(listed)
        ]
    return [("properties", properties)]


def _with_names(sources: list[Source], options: Options) -> list[Source]:
    if "user" in options.columns:  # the caller says who it was
        return sources
    names = _names(sources, options)
    return [replace(source, names=names) for source in sources]


def _names(sources: list[Source], options: Options) -> dict[str, str]:
    """Anonymous ids with the one user whose messages have them."""
    users: dict[str, str | None] = {}  # None: several
    for source in sources:
        for messages, _, _ in messages_of(source, options, _with_user):
            for _, message in messages:
                user = message.get("userId")
                before = message.get("previousId", message.get("anonymousId"))
                if isinstance(user, str) and user and isinstance(before, str) and before:
                    users[before] = user if users.get(before, user) == user else None
    return {before: user for before, user in users.items() if user is not None}


def _with_user(line: bytes) -> Message:
    """The message on a line, if it names a user; wrong lines are told when it is read."""
    return (json_object(line) or {}) if b'"userId"' in line else {}


def _named(message: Message, names: Mapping[str, str]) -> Message:
    """The message with the user that its anonymous visitor turned out to be."""
    visitor = message.get("anonymousId")
    if message.get("userId") or not isinstance(visitor, str) or visitor not in names:
        return message
    return {**message, "userId": names[visitor]}


TRACKER = Tracker(
    about="messages of Segment",
    name=_name,
    kinds=KINDS,
    users=("userId", "anonymousId"),
    times=("timestamp", "originalTimestamp"),
    ids=("messageId",),
    products=_products,
    items=("product_id", "productId", "id", "sku", "asset_id"),
)
FORMAT = Format(
    name="segment",
    about="Segment: archived messages, JSON Lines",
    sources=files,
    together=_with_names,
    read=lambda source, options: read(
        source, options, TRACKER, change=lambda message: _named(message, source.names)
    ),
    looks_like=lambda path: begins_with(path, b"messageId", b"anonymousId"),
)
