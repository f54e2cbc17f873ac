"""Google Analytics 4: events as exported by BigQuery, JSON Lines or Parquet.

Source: the schema of the BigQuery export, https://support.google.com/analytics/answer/7029846.
Licence: none is needed for events of your own.

`event_params`, a list of keys and values, is read as an object, so that a parameter can be named:
`--column item=event_params.article_id`. `user_id` counts before `user_pseudo_id`.
"""

from typing import Any

from loaders.exported import Message, Tracker, begins_with, files, read
from loaders.format import Format

KINDS = {
    "view_item": "view",
    "select_item": "click",
    "add_to_cart": "add",
    "add_to_wishlist": "add",
    "purchase": "purchase",
    "in_app_purchase": "purchase",
}
VALUES = ("string_value", "int_value", "float_value", "double_value")


def _name(message: Message) -> str | None:
    what = message.get("event_name")
    return what if isinstance(what, str) else None


def _products(message: Message) -> list[tuple[str, Message]]:
    listed = message.get("items")
    return [
        (f"items[{number}]", product if isinstance(product, dict) else {})
        for number, product in enumerate(listed if isinstance(listed, list) else [])
    ]


def _parameters(listed: Any) -> Any:
    """The list of keys and values as an object."""
    if not isinstance(listed, list):
        return listed
    values = {}
    for parameter in listed:
        held = parameter.get("value") if isinstance(parameter, dict) else None
        if isinstance(held, dict):
            values[parameter.get("key")] = next(
                (held[name] for name in VALUES if held.get(name) is not None), None
            )
    return values


def _opened(message: Message) -> Message:
    """The message with its parameters as objects."""
    return {
        name: _parameters(value) if name in ("event_params", "user_properties") else value
        for name, value in message.items()
    }


TRACKER = Tracker(
    about="events of Google Analytics 4, exported by BigQuery",
    name=_name,
    kinds=KINDS,
    users=("user_id", "user_pseudo_id"),
    times=("event_timestamp",),
    ids=(),
    products=_products,
    items=("item_id",),
)


FORMAT = Format(
    name="ga4",
    about="Google Analytics 4: events exported by BigQuery, JSON Lines or Parquet",
    sources=files,
    read=lambda source, options: read(source, options, TRACKER, change=_opened),
    looks_like=lambda path: begins_with(path, b"event_params", b"event_timestamp"),
)
