"""The inputs of the HTTP API, as the OpenAPI document shows them."""

from dataclasses import replace
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from api import strict_json
from graph.explore.cypher_tokens import LONGEST_QUERY
from graph.ids import as_id
from recommender.ranking.filter_language import parse_conditions
from recommender.ranking.request import Filter, Part, Request, session
from recommender.serving.subjects import MOST_MEMBERS

MOST_ITEMS = 200  # in one list
MOST_SUBJECTS = 1_000  # in one request
MOST_LISTED = 1_000  # ids in one list of a request


def _id(text: str) -> str:
    made = as_id(text)
    if not made:
        raise ValueError("should not be blank")
    return made


def _integer(value: Any) -> Any:
    if isinstance(value, str) and not (value.isascii() and value.removeprefix("-").isdigit()):
        raise ValueError(f"should be a whole number, not {value[:40]!r}")
    return value


def _yes_or_no(value: Any) -> Any:
    if isinstance(value, str):
        if value not in ("true", "false"):
            raise ValueError(f"should be true or false, not {value[:40]!r}")
        return value == "true"
    return value


Id = Annotated[
    str,
    Field(min_length=1, max_length=512, pattern=r"^[^\u0000-\u001f\u007f-\u009f]+$"),
    AfterValidator(_id),
]
"""Anything printable, percent-encoded in paths; see `graph.ids`."""

Ids = Annotated[list[Id], Field(max_length=MOST_LISTED)]
YesOrNo = Annotated[bool, BeforeValidator(_yes_or_no)]
Count = Annotated[
    int,
    Field(ge=1, le=MOST_ITEMS, description="How many items."),
    BeforeValidator(_integer),  # last, so that the schema keeps the bounds
]
Profile = Annotated[
    Id | None, Field(description="Profile of reranking: neutral, default, or one of your own.")
]


Cursor = Annotated[str | None, Field(max_length=12_000, description="`next` of the previous page.")]


def for_generators(schema: dict[str, Any]) -> None:
    """Change a model's schema, in place, so that generators of clients read it correctly.

    They take a field with a default for one that is always there, or make up a value from the
    default: so defaults go into the description. They recognise objects with arbitrary keys only
    by `additionalProperties`, so patterns of keys are turned into that.
    """
    for field in schema.get("properties", {}).values():
        default = field.pop("default", None)
        if default not in (None, "", [], {}):
            text = ", ".join(default) if isinstance(default, list) else str(default)
            text = text.lower() if isinstance(default, bool) else text
            field["description"] = f"{field.get('description', '')} Default: {text}.".strip()
        for part in (field, *field.get("anyOf", ())):
            if part.get("type") == "object" and "properties" not in part:
                patterns = part.pop("patternProperties", {})
                part.setdefault("additionalProperties", next(iter(patterns.values()), True))


class Strict(BaseModel):
    """Takes no field that it does not name."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=for_generators)


class UserPath(Strict):
    user: Id = Field(description="Id of a user, known or not.")


class ItemPath(Strict):
    item: Id = Field(description="Id of an item.")


def _conditions(filter_content: Any) -> Any:
    parse_conditions(filter_content)  # an `InputError` is a ValueError, so pydantic names the field
    return filter_content


FilterBody = Annotated[
    dict[str, Any],
    BeforeValidator(_conditions),
    Field(
        description="Conditions on items, see docs/requests.md.",
        json_schema_extra={"example": {"domains": ["baroque"], "not": {"tags_any": ["live"]}}},
    ),
]


def _parsed(value: Any) -> Any:
    return strict_json.parse(value.encode(), "the text") if isinstance(value, str) else value


def _number(value: Any) -> Any:
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ValueError(f"should be a number, not {value[:40]!r}") from error


FilterQuery = Annotated[
    FilterBody,
    BeforeValidator(_parsed),
    WithJsonSchema({"type": "string", "contentMediaType": "application/json"}),
]
"""The same, as text in a query."""

INTERESTS = "Show each of several interests in proportion, with its name."

LongTail = Annotated[
    float | None,
    Field(
        ge=0,
        le=1,
        description="How much long tail: 0 to 1 along the curve of the subject's segment.",
        strict=True,
    ),
]
Weight = Annotated[
    float | None, Field(ge=0, le=1, strict=True, description="Replaces the profile's own weight.")
]


class ListQuery(Strict):
    n: Count = 20
    domain: Ids = Field([], description="Only items of one of these domains; may be repeated.")
    tag: Ids = Field([], description="Only items with all of these tags; may be repeated.")
    without_tag: Ids = Field([], description="Only items with none of these tags; may be repeated.")

    def conditions(self) -> Filter:
        """Which items may be shown."""
        if not (self.domain or self.tag or self.without_tag):
            return Filter()
        return Filter(
            domains=tuple(self.domain),
            tags_all=tuple(self.tag),
            tags_none=tuple(self.without_tag),
        )


class PagedQuery(ListQuery):
    cursor: Cursor = None


class TagQuery(PagedQuery):
    name: Id = Field(description="Name of the tag.")


class TrendingQuery(ListQuery):
    window: Literal["hour", "day", "week"] = Field(
        "day",
        description="What lately means: a choice that long ago counts 0.37 times as much.",
    )


class UserQuery(ListQuery):
    filter: FilterQuery = Field(
        {}, description="More conditions on items, as JSON; see docs/requests.md."
    )
    session: Ids = Field(
        [], description="Id of a running session: what was done in it so far; may be repeated."
    )
    exclude: Ids = Field([], description="Leave out this item; may be repeated.")
    include_seen: YesOrNo = Field(False, description="Also show items that the user already knows.")
    reasons: YesOrNo = Field(True, description="Say why each item is shown.")
    profile: Profile = None
    long_tail: Annotated[LongTail, BeforeValidator(_number)] = None
    interests: YesOrNo = Field(False, description=INTERESTS)
    cursor: Cursor = None

    def request(self, user: str) -> Request:
        """As the recommender takes it."""
        return self.of_nobody.by(user)

    @cached_property
    def of_nobody(self) -> Request:
        """The same request without its user: users who ask alike share it."""
        conditions = parse_conditions(self.filter)
        return Request(
            sessions=_sessions(self.session),
            n=self.n,
            filter=replace(self.conditions(), all_of=(conditions.filter,) if self.filter else ()),
            exclude=(*self.exclude, *conditions.exclude),
            include_seen=self.include_seen or conditions.seen == "include",
            only_seen=conditions.seen == "only",
            reasons=self.reasons,
            profile=self.profile,
            long_tail=self.long_tail,
            interests=self.interests,
            cursor=self.cursor,
        )


class NoQuery(Strict):
    pass


class WhyPath(UserPath):
    item: Id = Field(description="Id of an item.")


class PartBody(Strict):
    kind: Literal["user", "item", "tag"] = Field(description="What `name` names.")
    name: Id = Field(description="An id, or a tag's name.")
    weight: float = Field(
        1.0,
        gt=0,
        le=1e6,
        description="Its share is this, divided by the sum of all weights.",
        strict=True,
    )

    def part(self) -> Part:
        """As the recommender takes it."""
        return Part(self.kind, self.name, self.weight)


class Subject(Strict):
    """Who or what a list is for: the sum of a user's history, a session's items and tags."""

    user: Id | None = Field(None, description="Id of a user, known or not.")
    items: Ids = Field([], description="Items of the running session, the newest last.")
    session: Id | Annotated[list[Id], Field(max_length=MOST_MEMBERS)] | None = Field(
        None, description="Id of a running session, or ids: what was done in them so far."
    )
    tags: Ids = Field([], description="Names of tags.")
    n: int = Field(20, ge=1, le=MOST_ITEMS, description="How many items.", strict=True)
    mix: list[PartBody] = Field(
        [],
        max_length=50,
        description="Weighted parts; leave out all other fields that say who the list is for.",
    )
    household: list[Id] = Field(
        [],
        max_length=MOST_MEMBERS,
        description="Users; leave out all other fields that say who it is for, but `session`.",
    )
    similar_to: Id | None = Field(
        None,
        description="A user: shows what at least 20 users like this one share. Only with "
        "`similar_users_enabled`, for this machine or a `privacy` key.",
    )
    session_share: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Share of the weight on `items` and `session`, default 0.7.",
        strict=True,
    )
    filter: FilterBody = {}
    exclude: Ids = Field([], description="Ids of items not to show.")
    include_seen: bool = Field(
        False, strict=True, description="Also show items that the user already knows."
    )
    reasons: bool = Field(True, strict=True, description="Say why each item is shown.")
    profile: Profile = None
    long_tail: LongTail = None
    diversity: Weight = None
    freshness: Weight = None
    context: Annotated[dict[Id, Id], Field(max_length=20)] | None = Field(
        {},
        description="The circumstances that rules and contexts go by, such as device or place; "
        "null: no context applies.",
    )
    shown: dict[Id, Annotated[int, Field(ge=0, le=1000)]] = Field(
        {}, max_length=MOST_LISTED, description="How often each item was shown and not clicked."
    )
    seed: int | None = Field(
        None,
        ge=-(2**62),
        le=2**62,
        description="Varies the order a little; the same number gives the same order.",
    )
    interests: bool = Field(False, description=INTERESTS, strict=True)
    cursor: Cursor = None

    def request(self) -> Request:
        """As the recommender takes it."""
        conditions = parse_conditions(self.filter)
        return Request(
            user=self.user,
            items=session(self.items),
            sessions=_sessions(self.session),
            tags=tuple(self.tags),
            n=self.n,
            filter=conditions.filter,
            exclude=(*self.exclude, *conditions.exclude),
            include_seen=self.include_seen or conditions.seen == "include",
            only_seen=conditions.seen == "only",
            reasons=self.reasons,
            profile=self.profile,
            long_tail=self.long_tail,
            diversity=self.diversity,
            freshness=self.freshness,
            mix=tuple(part.part() for part in self.mix),
            household=tuple(self.household),
            similar_to=self.similar_to,
            session_share=self.session_share,
            context=self.context,
            shown=self.shown,
            seed=self.seed,
            interests=self.interests,
            cursor=self.cursor,
        )


def _sessions(named: str | list[str] | None) -> tuple[str, ...]:
    """The ids of sessions, each once."""
    if named is None:
        return ()
    return (named,) if isinstance(named, str) else tuple(dict.fromkeys(named))


class RecommendationsBody(Strict):
    subjects: list[Subject] = Field(
        min_length=1, max_length=MOST_SUBJECTS, description="Who or what each list is for."
    )


class CypherBody(Strict):
    query: str = Field(
        min_length=1, max_length=LONGEST_QUERY, description="The query in Cypher; it can only read."
    )
    parameters: dict[str, Any] = Field({}, description="By name, without the $.")


class SegmentsQuery(Strict):
    user: Id | None = Field(None, description="Only the segments of this user, known or not.")


class CountQuery(Strict):
    n: Count = 20


class OnlineQuery(Strict):
    days: Annotated[int | None, Field(ge=1, le=3650), BeforeValidator(_integer)] = Field(
        None, description="Only what was shown in the last so many days; null: all."
    )
