"""Segment: messages as they are archived, JSON Lines, mostly gzipped.

Source: the spec, https://segment.com/docs/connections/spec.
Licence: none is needed for events of your own.

Names of events and fields are those of its spec for e-commerce (version 2, and the older names)
and video. `userId` counts before `anonymousId`; what links the two (`identify`, `alias`) is not
followed.
"""

from loaders.exported import Message, Tracker, begins_with, files, read
from loaders.format import Format

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
    read=lambda source, options: read(source, options, TRACKER),
    looks_like=lambda path: begins_with(path, b"messageId", b"anonymousId"),
)
