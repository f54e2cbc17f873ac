"""What is asked and answered over HTTP, as the OpenAPI document shows it."""

import unicodedata
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from recommender.request import Filter, Request

MOST_ITEMS = 200  # in one list
MOST_SUBJECTS = 1_000  # in one request
MOST_LISTED = 1_000  # ids in one list of a request


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _whole(value: Any) -> Any:
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
    AfterValidator(_nfc),
]
"""Anything printable, percent-encoded in paths; normalised to NFC."""

Ids = Annotated[list[Id], Field(max_length=MOST_LISTED)]
YesOrNo = Annotated[bool, BeforeValidator(_yes_or_no)]
Count = Annotated[
    int,
    Field(ge=1, le=MOST_ITEMS, description="How many items."),
    BeforeValidator(_whole),  # last, so that the schema keeps the bounds
]
Profile = Annotated[
    Id | None, Field(description="Of reranking: neutral, default, or one of your own.")
]


class Strict(BaseModel):
    """Nothing that is not named here."""

    model_config = ConfigDict(extra="forbid")


class UserPath(Strict):
    user: Id = Field(description="Id of a user, known or not.")


class ItemPath(Strict):
    item: Id = Field(description="Id of an item.")


class ListQuery(Strict):
    n: Count = 20
    domain: Ids = Field([], description="Only of one of these domains; may be repeated.")
    tag: Ids = Field([], description="Only with all of these tags; may be repeated.")
    without_tag: Ids = Field([], description="With none of these tags; may be repeated.")

    def filter(self) -> Filter:
        """Which items may be shown."""
        return Filter(
            domains=tuple(self.domain),
            tags_all=tuple(self.tag),
            tags_none=tuple(self.without_tag),
        )


class TagQuery(ListQuery):
    name: Id = Field(description="Name of the tag.")


class UserQuery(ListQuery):
    exclude: Ids = Field([], description="Not this item; may be repeated.")
    include_seen: YesOrNo = Field(False, description="Also what the user knows already.")
    reasons: YesOrNo = Field(True, description="Say why each item is shown.")
    profile: Profile = None


class NoQuery(Strict):
    pass


class FilterBody(Strict):
    domains: Ids = Field([], description="In any of these.")
    tags_all: Ids = Field([], description="With all of these.")
    tags_any: Ids = Field([], description="With any of these.")
    tags_none: Ids = Field([], description="With none of these.")
    created_after: int | None = Field(None, ge=-(2**62), le=2**62, description="Seconds, 1970.")
    created_before: int | None = Field(None, ge=-(2**62), le=2**62, description="Seconds, 1970.")

    def filter(self) -> Filter:
        """Which items may be shown."""
        return Filter(
            domains=tuple(self.domains),
            tags_all=tuple(self.tags_all),
            tags_any=tuple(self.tags_any),
            tags_none=tuple(self.tags_none),
            created_after=self.created_after,
            created_before=self.created_before,
        )


class Subject(Strict):
    """Who or what a list is for: the sum of a user's history, a session's items and tags."""

    user: Id | None = None
    items: Ids = Field([], description="Items of the running session, the newest last.")
    tags: Ids = Field([], description="Names of tags.")
    n: int = Field(20, ge=1, le=MOST_ITEMS, description="How many items.", strict=True)
    filter: FilterBody = FilterBody()
    exclude: Ids = Field([], description="Ids of items not to show.")
    include_seen: bool = Field(False, strict=True)
    reasons: bool = Field(True, strict=True)
    profile: Profile = None
    long_tail: float | None = Field(
        None, ge=0, le=1, description="Weight of the long tail in reranking, over the profile's."
    )

    def request(self) -> Request:
        """As the recommender takes it."""
        return Request(
            user=self.user,
            items=dict.fromkeys(self.items, 1.0),
            tags=tuple(self.tags),
            n=self.n,
            filter=self.filter.filter(),
            exclude=tuple(self.exclude),
            include_seen=self.include_seen,
            reasons=self.reasons,
            profile=self.profile,
            long_tail=self.long_tail,
        )


class RecommendationsBody(Strict):
    subjects: list[Subject] = Field(min_length=1, max_length=MOST_SUBJECTS)


class ReasonAnswer(BaseModel):
    text: str
    path: list[dict[str, str]]
    share: float


class ItemAnswer(BaseModel):
    item: str
    title: str
    score: float
    source: str
    parts: dict[str, float]
    tags: list[str]
    domains: list[str]
    reasons: list[ReasonAnswer]


class ListAnswer(BaseModel):
    items: list[ItemAnswer]
    served_by: str
    fallback: str | None
    release: str
    profile: str
    segment: str | None
    notes: list[str]


class ManyAnswer(BaseModel):
    answers: list[ListAnswer]


class ReleasesAnswer(BaseModel):
    releases: list[dict[str, Any]]


class LiveAnswer(BaseModel):
    status: Literal["live"]


class ReadyAnswer(BaseModel):
    status: Literal["ready"]
    release: str
    problem: str | None = Field(description="Why a newer release is not served, if one is refused")


class FieldError(BaseModel):
    field: str
    message: str


class ProblemAnswer(BaseModel):
    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[FieldError] = []
