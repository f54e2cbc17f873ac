"""Snowplow: enriched events, as the pipeline writes them (tabs, 131 columns) or as JSON Lines.

Source: the canonical event model, https://docs.snowplow.io/docs/fundamentals/canonical-event.
Licence: none is needed for events of your own.

The JSON is that of its analytics SDKs, in which each self-describing part has a field of its own,
such as `contexts_com_acme_song_1`; lines with tabs are brought into the same form. Items are found
in events of the e-commerce plug-in, in its older events, and in transactions. Others can be named:
`--column item=contexts_com_acme_song_1.id`.
"""

import json
import re
from typing import Any

from loaders.exported import Message, Tracker, begins_with, files, read
from loaders.format import Format

COLUMNS = 131
PLACES = {  # name -> its place among the columns
    "collector_tstamp": 3, "dvce_created_tstamp": 4, "event": 5, "event_id": 6, "user_id": 12,
    "domain_userid": 15, "network_userid": 17, "page_url": 29, "se_category": 53, "se_action": 54,
    "se_label": 55, "se_property": 56, "se_value": 57, "ti_orderid": 67, "ti_sku": 68,
    "ti_quantity": 72, "derived_tstamp": 124, "event_name": 126,
}  # fmt: skip
CONTEXTS, UNSTRUCT, DERIVED = 52, 58, 122
ACTION = "unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1"
PRODUCT = "contexts_com_snowplowanalytics_snowplow_ecommerce_product_1"
ADDED = "unstruct_event_com_snowplowanalytics_snowplow_add_to_cart_1"
KINDS = {
    "product_view": "view",
    "list_click": "click",
    "add_to_cart": "add",
    "transaction": "purchase",
    "transaction_item": "purchase",
}
_SCHEMA = re.compile(r"iglu:([^/]+)/([^/]+)/jsonschema/(\d+)-")


def decode(line: bytes) -> Message | None:
    """A line of either form; None if it is neither."""
    try:
        if line.lstrip().startswith(b"{"):
            message = json.loads(line)
            return message if isinstance(message, dict) else None
        cells = line.decode().rstrip("\r").split("\t")
        if len(cells) != COLUMNS:
            return None
        message = {name: cells[column] for name, column in PLACES.items() if cells[column]}
        for column in (CONTEXTS, DERIVED):
            for part in _data(cells[column], []):
                message.setdefault(_field("contexts", part), []).append(part.get("data"))
        if event := _data(cells[UNSTRUCT], {}):
            message[_field("unstruct_event", event)] = event.get("data")
    except (ValueError, RecursionError, AttributeError, TypeError):
        return None
    return message


def _data(cell: str, nothing: Any) -> Any:
    return json.loads(cell)["data"] if cell else nothing


def _field(prefix: str, part: dict[str, Any]) -> str:
    """The name that the SDKs give to a self-describing part."""
    schema = _SCHEMA.match(part["schema"])
    if schema is None:
        raise ValueError(part["schema"])
    vendor, name, model = schema.groups()
    snake = re.sub(r"([^A-Z_])([A-Z])", r"\1_\2", name)
    return re.sub(r"[.-]", "_", f"{prefix}_{vendor}_{snake}_{model}").lower()


def _name(message: Message) -> str | None:
    action = message.get(ACTION)
    what = action.get("type") if isinstance(action, dict) else None
    if what is None and message.get("event") == "struct":
        what = message.get("se_action")
    what = what or message.get("event_name") or message.get("event")
    return what if isinstance(what, str) else None


def _products(message: Message) -> list[tuple[str, Message]]:
    if message.get("event") == "transaction_item":
        sold = {"id": message.get("ti_sku"), "quantity": message.get("ti_quantity")}
        return [("ti_sku", sold)]
    if isinstance(added := message.get(ADDED), dict):
        return [(ADDED, added)]
    listed = message.get(PRODUCT)
    return [
        (f"{PRODUCT}[{number}]", product if isinstance(product, dict) else {})
        for number, product in enumerate(listed if isinstance(listed, list) else [])
    ]


TRACKER = Tracker(
    about="enriched events of Snowplow",
    name=_name,
    kinds=KINDS,
    users=("user_id", "domain_userid", "network_userid"),
    times=("derived_tstamp", "dvce_created_tstamp", "collector_tstamp"),
    ids=("event_id",),
    products=_products,
    items=("id", "sku"),
)
FORMAT = Format(
    name="snowplow",
    about="Snowplow: enriched events, tabs or JSON Lines",
    sources=files,
    read=lambda source, options: read(source, options, TRACKER, decode),
    looks_like=lambda path: begins_with(path, b"collector_tstamp", b"event_id"),
)
