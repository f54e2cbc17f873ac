"""What can be written over HTTP, and the answers, as the OpenAPI document shows it.

Entries are not checked here but by the rules of files (`loaders.entries`): so one that is wrong
leaves its neighbours alone, and what a file may say a request may.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.schemas import Id, Strict

Schema = dict[str, Any]

MOST_ENTRIES = 10_000  # in one request

TEXT: Schema = {"anyOf": [{"type": "string"}, {"type": "number"}]}
NUMBER: Schema = {"anyOf": [{"type": "number"}, {"type": "string"}]}
YES_OR_NO: Schema = {"anyOf": [{"type": "boolean"}, {"type": "string"}]}
TIME = "Seconds or milliseconds since 1970, or ISO 8601."


def _entry(about: str, schema: dict[str, Any]) -> Any:
    return Field(None, description=about, json_schema_extra=schema)


EVENT: Schema = {
    "type": "object",
    "required": ["user", "item"],
    "properties": {
        "user": TEXT,
        "item": TEXT,
        "kind": TEXT | {"description": "view where it is left out."},
        "value": NUMBER,
        "tag": TEXT,
        "at": NUMBER | {"description": TIME},
        "event_id": TEXT | {"description": "Two events with the same one are one event."},
    },
}
TAG: Schema = {
    "anyOf": [
        TEXT,
        {"type": "object", "properties": {"category": TEXT, "tag": TEXT, "weight": NUMBER}},
    ]
}
DOMAIN: Schema = {
    "anyOf": [TEXT, {"type": "object", "properties": {"domain": TEXT, "weight": NUMBER}}]
}
ITEM: dict[str, Schema] = {
    "title": {"type": "string"},
    "created_at": NUMBER | {"description": TIME},
    "hidden": YES_OR_NO,
    "attributes": {"type": "object", "additionalProperties": True},
    "tags": {"type": "array", "items": TAG},
    "domains": {"type": "array", "items": DOMAIN},
}
ITEM_ENTRY: Schema = {"type": "object", "required": ["id"], "properties": {"id": TEXT, **ITEM}}

Atomic = Annotated[
    bool, Field(description="Take all entries or none: one that is wrong refuses them all.")
]


class EventsBody(Strict):
    """One event by its fields, or many as `events`."""

    events: list[Any] | None = Field(
        None,
        description="Up to 10,000 events; each is taken or refused for itself.",
        max_length=MOST_ENTRIES,
        min_length=1,
        json_schema_extra={"items": EVENT},
    )
    atomic: Atomic = False
    user: Any = _entry("Who did it.", TEXT)
    item: Any = _entry("What it was done to.", TEXT)
    kind: Any = _entry("What was done; view where it is left out.", TEXT)
    value: Any = _entry("How much: a rating, a count.", NUMBER)
    tag: Any = _entry("The tag that was written.", TEXT)
    at: Any = _entry(TIME, NUMBER)
    event_id: Any = _entry("Two events with the same one are one event.", TEXT)


class ItemsBody(Strict):
    """Items as they are from now on."""

    items: list[Any] = Field(
        description="Up to 10,000 items; each is taken or refused for itself.",
        max_length=MOST_ENTRIES,
        min_length=1,
        json_schema_extra={"items": ITEM_ENTRY},
    )
    atomic: Atomic = False


class ItemBody(Strict):
    """What is said of an item; lists of tags of a category are named `tags:CATEGORY`."""

    model_config = ConfigDict(extra="allow")  # tags:CATEGORY; what else comes is refused by name

    title: Any = _entry("How people call it.", ITEM["title"])
    created_at: Any = _entry(TIME, ITEM["created_at"])
    hidden: Any = _entry("Shown in no list.", ITEM["hidden"])
    attributes: Any = _entry("Whatever else is known, for filters and answers.", {"type": "object"})
    tags: Any = _entry("Names, or objects with a weight.", ITEM["tags"])
    domains: Any = _entry("Names, or objects with a weight.", ITEM["domains"])


class UserBody(Strict):
    attributes: dict[str, Any] | None = Field(None, description="Whatever is known of the user.")


class ConsentBody(Strict):
    """Purposes that are left out stay as they are."""

    personalise: bool | None = Field(None, strict=True, description="Lists from their history.")
    train: bool | None = Field(None, strict=True, description="A refresh may learn from them.")
    track: bool | None = Field(None, strict=True, description="Events of theirs are taken.")


class FieldError(Strict):
    field: str
    message: str


class EntryResult(Strict):
    status: Literal["taken", "repeated", "refused"] = Field(
        description="repeated: it was said before, and nothing changes."
    )
    sequence: int | None = Field(None, description="Its number in the inbox.")
    errors: list[FieldError] | None = Field(None, description="Which field is wrong, and why.")


class WriteAnswer(Strict):
    sequence: int = Field(
        description="The highest number given: what was said up to here is on the disk."
    )
    taken: int
    repeated: int
    refused: int
    results: list[EntryResult] = Field(description="One for each entry, in order.")


class TagAnswer(Strict):
    category: str
    tag: str
    weight: float | None = None


class DomainAnswer(Strict):
    domain: str
    weight: float | None = None


class KnownItemAnswer(Strict):
    id: Id
    title: str | None = None
    created_at: int | None = None
    hidden: bool
    attributes: dict[str, Any] | None = None
    tags: list[TagAnswer] | None = None
    domains: list[DomainAnswer] | None = None
    sequence: int | None = Field(None, description="The newest fact about it that waits.")


class ConsentAnswer(Strict):
    personalise: bool
    train: bool
    track: bool


class KnownUserAnswer(Strict):
    id: Id
    attributes: dict[str, Any] | None = None
    consent: ConsentAnswer
    sequence: int | None = Field(None, description="The newest fact about them that waits.")


class ErasurePath(Strict):
    sequence: int = Field(ge=1, le=2**63 - 1, description="Number of an erasure.")


class PlaceAnswer(Strict):
    place: str
    at: int = Field(description="Seconds since 1970, when nothing of the user was left there.")
    count: int = Field(description="Facts, events or lines that went.")


class ErasureAnswer(Strict):
    sequence: int = Field(description="Its number; `GET /v1/erasures/{sequence}` tells the rest.")
    asked: int = Field(description="Seconds since 1970.")
    done: bool = Field(description="Whether every place but releases is reached.")
    places: list[PlaceAnswer]


class DataAnswer(BaseModel):
    user: str
    known: bool
    attributes: dict[str, Any]
    consent: ConsentAnswer
    events: list[dict[str, Any]] = Field(description="Those that the store holds.")
    relations: list[dict[str, Any]]
    inbox: list[dict[str, Any]] = Field(description="Facts that the journal holds.")
    shown: dict[str, Any] | None = Field(description="The list they are shown, with its reasons.")
