"""What can be written over HTTP, and the answers, as the OpenAPI document shows it.

Entries are not checked here but by the rules for files (`loaders.entries`): so a wrong entry does
not affect its neighbours, and a request may say whatever a file may say.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.schemas import Id, Strict

Schema = dict[str, Any]

MOST_ENTRIES = 10_000  # in one request

TEXT: Schema = {"anyOf": [{"type": "string"}, {"type": "number"}]}
NUMBER: Schema = {"anyOf": [{"type": "number"}, {"type": "string"}]}
YES_OR_NO: Schema = {"anyOf": [{"type": "boolean"}, {"type": "string"}]}
WHO = "Who did it. With `session` you may leave it out: then it was the visitor with that id."
IN_SESSION = "Id of the session in which it happened."
ANSWER = "For an impression or a click: the `request_id` of the answer that showed the item."
POSITION = "For an impression or a click: the item's place in the list, from 1."
TIME = "Seconds or milliseconds since 1970, or ISO 8601."


def _entry(about: str, schema: dict[str, Any]) -> Any:
    return Field(None, description=about, json_schema_extra=schema)


EVENT: Schema = {
    "type": "object",
    "required": ["item"],
    "properties": {
        "user": TEXT | {"description": WHO},
        "item": TEXT,
        "kind": TEXT | {"description": "What was done. Default: `view`."},
        "value": NUMBER,
        "tag": TEXT,
        "at": NUMBER | {"description": TIME},
        "event_id": TEXT | {"description": "Events with the same `event_id` are one event."},
        "session": TEXT | {"description": IN_SESSION},
        "request_id": {"type": "string", "description": ANSWER},
        "position": {"type": "integer", "minimum": 1, "description": POSITION},
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
    bool, Field(description="Accept all entries or none: if one is wrong, none is accepted.")
]


class EventsBody(Strict):
    """One event by its fields, or many as `events`."""

    events: list[Any] | None = Field(
        None,
        description="Up to 10,000 events, each with the fields below; each is accepted or refused "
        "on its own.",
        max_length=MOST_ENTRIES,
        min_length=1,
        json_schema_extra={"items": EVENT},
    )
    atomic: Atomic = False
    user: Any = _entry(WHO, TEXT)
    item: Any = _entry("Id of the item that it was done to.", TEXT)
    kind: Any = _entry("What was done, such as `play` or `like`. Default: `view`.", TEXT)
    value: Any = _entry("How much: a rating, a count.", NUMBER)
    tag: Any = _entry("The tag that was written.", TEXT)
    at: Any = _entry(TIME, NUMBER)
    event_id: Any = _entry("Events with the same `event_id` are one event.", TEXT)
    session: Any = _entry(IN_SESSION, TEXT)
    request_id: Any = _entry(ANSWER, {"type": "string"})
    position: Any = _entry(POSITION, {"type": "integer", "minimum": 1})


class ItemsBody(Strict):
    """Items as they are from now on."""

    items: list[Any] = Field(
        description="Up to 10,000 items, each with an `id` and the fields of ItemBody; each is "
        "accepted or refused on its own.",
        max_length=MOST_ENTRIES,
        min_length=1,
        json_schema_extra={"items": ITEM_ENTRY},
    )
    atomic: Atomic = False


class ItemBody(Strict):
    """What is known of an item; a field `tags:CATEGORY` lists its tags of a category."""

    model_config = ConfigDict(extra="allow")  # tags:CATEGORY; any other field is refused by name

    title: Any = _entry("Title, as people see it.", ITEM["title"])
    created_at: Any = _entry(TIME, ITEM["created_at"])
    hidden: Any = _entry("If true, no list shows it.", ITEM["hidden"])
    attributes: Any = _entry("Whatever else is known, for filters and answers.", {"type": "object"})
    tags: Any = _entry("Names, or objects with a weight.", ITEM["tags"])
    domains: Any = _entry("Names, or objects with a weight.", ITEM["domains"])


class UserBody(Strict):
    attributes: dict[str, Any] | None = Field(None, description="Whatever is known about the user.")


class AliasBody(Strict):
    anonymous: Id = Field(
        description="The id under which they were known before: as `user`, or as a `session`."
    )


class ConsentBody(Strict):
    """Purposes that are left out stay as they are."""

    personalise: bool | None = Field(None, strict=True, description="May lists use their history?")
    train: bool | None = Field(None, strict=True, description="May a refresh learn from them?")
    track: bool | None = Field(None, strict=True, description="May their events be recorded?")


class FieldError(Strict):
    field: str
    message: str


class EntryResult(Strict):
    status: Literal["taken", "repeated", "refused"] = Field(
        description="`taken`: it is on the disk; `repeated`: it was there already, and nothing "
        "changes; `refused`: it is wrong."
    )
    sequence: int | None = Field(None, description="Its number in the inbox.")
    errors: list[FieldError] | None = Field(None, description="Which field is wrong, and why.")


class WriteAnswer(Strict):
    sequence: int = Field(
        description="The highest number given: everything up to it is on the disk."
    )
    taken: int = Field(description="How many entries are on the disk now.")
    repeated: int = Field(description="How many were there already.")
    refused: int = Field(description="How many were wrong.")
    results: list[EntryResult] = Field(description="One for each entry, in order.")


class TagAnswer(Strict):
    category: str = Field(description="Category of the tag.")
    tag: str = Field(description="Its name.")
    weight: float | None = Field(None, description="As it was given.")


class DomainAnswer(Strict):
    domain: str = Field(description="Its name.")
    weight: float | None = Field(None, description="As it was given.")


class KnownItemAnswer(Strict):
    id: Id = Field(description="Id of the item.")
    title: str | None = Field(None, description="Title, as people see it.")
    created_at: int | None = Field(None, description="Seconds since 1970.")
    hidden: bool = Field(description="Whether all lists leave it out.")
    attributes: dict[str, Any] | None = Field(None, description="Whatever else is known.")
    tags: list[TagAnswer] | None = Field(None, description="All of its tags.")
    domains: list[DomainAnswer] | None = Field(None, description="All of its domains.")
    sequence: int | None = Field(
        None, description="Number of the newest fact about it that is not in the store yet."
    )


class ConsentAnswer(Strict):
    personalise: bool = Field(description="Lists may use their history.")
    train: bool = Field(description="A refresh may learn from them.")
    track: bool = Field(description="Their events may be recorded.")


class KnownUserAnswer(Strict):
    id: Id = Field(description="Id of the user.")
    attributes: dict[str, Any] | None = Field(None, description="Whatever is known about them.")
    consent: ConsentAnswer = Field(description="What they agree to.")
    sequence: int | None = Field(
        None, description="Number of the newest fact about them that is not in the store yet."
    )


class ErasurePath(Strict):
    sequence: int = Field(ge=1, le=2**63 - 1, description="Number of an erasure.")


class PlaceAnswer(Strict):
    place: str = Field(description="Store, journal, caches …")
    at: int = Field(
        description="When everything of the user's was gone there, in seconds since 1970."
    )
    count: int = Field(description="How many facts, events or lines were removed.")


class ErasureAnswer(Strict):
    sequence: int = Field(
        description="Its number; `GET /v1/erasures/{sequence}` says how far it has come."
    )
    asked: int = Field(description="When it was asked for, in seconds since 1970.")
    done: bool = Field(description="Whether the user is gone from every place except the releases.")
    places: list[PlaceAnswer] = Field(description="The places it has reached.")


class DataAnswer(BaseModel):
    user: str = Field(description="Id of the user.")
    aliases: list[str] = Field(description="Anonymous ids that were joined to them.")
    known: bool = Field(description="Whether the store or the journal knows them.")
    attributes: dict[str, Any] = Field(description="Whatever is known about them.")
    consent: ConsentAnswer = Field(description="What they agree to.")
    events: list[dict[str, Any]] = Field(description="Those that the store holds.")
    relations: list[dict[str, Any]] = Field(description="Whom they know or follow.")
    feedback: list[dict[str, Any]] = Field(description="What they were shown, and clicked.")
    inbox: list[dict[str, Any]] = Field(description="Facts that the journal holds.")
    quarantine: list[dict[str, Any]] = Field(description="Facts that the store refused.")
    shown: dict[str, Any] | None = Field(description="The list they are shown, with its reasons.")
