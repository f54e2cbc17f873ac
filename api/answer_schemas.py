"""The answers of the HTTP API, as the OpenAPI document shows them."""

from typing import Any, Literal

from pydantic import BaseModel, Field


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
    label: str | None = Field(description="sponsored or pinned, if a rule placed the item.")
    interest: str | None = Field(
        description="Which of the user's interests the item comes from, if `interests` was set."
    )


class ListAnswer(BaseModel):
    items: list[ItemAnswer]
    served_by: str
    fallback: str | None
    release: str
    profile: str
    segment: str | None
    notes: list[str]
    next: str | None = Field(description="Cursor of the next page; null if there is none.")
    request_id: str = Field(description="What impressions and clicks of this answer name.")


class CypherAnswer(BaseModel):
    query: str
    parameters: dict[str, Any]


class RowsAnswer(BaseModel):
    columns: list[str]
    rows: list[list[Any]] = Field(description="Nodes, relationships and paths are objects.")
    truncated: bool = Field(description="Whether the limit of rows or bytes was reached.")
    ms: float
    times: list[bool] = Field(description="For each column: is it seconds since 1970?")


class WhyReason(ReasonAnswer):
    cypher: CypherAnswer = Field(description="A query that shows this path in the graph.")


class WhyAnswer(BaseModel):
    user: str
    item: str
    title: str
    score: float
    source: str
    parts: dict[str, float]
    tags: list[str]
    domains: list[str]
    reasons: list[WhyReason]
    label: str | None
    interest: str | None
    drawing: list[str] = Field(description="Each path as a line of text.")
    cypher: CypherAnswer | None = Field(
        description="A query that shows the strongest path in the graph; null: no reason is known."
    )
    served_by: str
    release: str
    notes: list[str]


class RisingTag(BaseModel):
    category: str
    tag: str
    people: float = Field(description="How many chose an item with this tag lately, 20 or more.")
    usual: float = Field(description="How many of them would be usual.")
    growth: float = Field(description="How many times as many, with 20 added to both.")


class RisingAnswer(BaseModel):
    tags: list[RisingTag] = Field(description="Most growth first.")
    window: str
    release: str


class ManyAnswer(BaseModel):
    answers: list[ListAnswer]


class RateAnswer(BaseModel):
    name: str
    shown: int
    clicked: int
    rate: float
    low: float = Field(description="Lower end of the 95% interval.")
    high: float


class RatesAnswer(BaseModel):
    source: list[RateAnswer]
    position: list[RateAnswer]
    segment: list[RateAnswer]
    release: list[RateAnswer]
    rule: list[RateAnswer]


class OnlineAnswer(BaseModel):
    since: int | None = Field(description="Only what was shown from then on, seconds since 1970.")
    shown: int = Field(description="Items of answers; 0 if they are of fewer than 20 people.")
    clicked: int
    rate: float | None = None
    low: float | None = None
    high: float | None = None
    by: RatesAnswer
    left_out: int = Field(
        description="How many groups are left out, for having fewer than 20 people."
    )


class SegmentAnswer(BaseModel):
    name: str
    users: int | None = Field(
        description="null if a rule defines it: then each request decides who belongs to it"
    )
    persona: str
    profile: str
    weights: dict[str, float | str] = Field(description="Also the `method`: mmr or dpp.")


class SegmentsAnswer(BaseModel):
    release: str
    method: str
    note: str | None
    segments: list[SegmentAnswer]
    user: str | None = None
    profile: str | None = None
    moves: float | None = Field(None, description="Chance of changing segment, if predicted.")
    returns: float | None = Field(None, description="Chance of coming back, if predicted.")


class SimilarUsersAnswer(BaseModel):
    users: int = Field(description="How many of the most similar users this is about.")
    segments: list[dict[str, Any]]
    domains: list[dict[str, Any]]
    items: list[dict[str, Any]]
    release: str


class LiveAnswer(BaseModel):
    status: Literal["live"]


class InboxAnswer(BaseModel):
    """How far writes have got; what was acknowledged is safe in any case."""

    closed: str | None = Field(
        description="Why writes are answered with 503; null: they are accepted"
    )
    sequence: int | None = Field(None, description="Number of the newest fact")
    drained: int | None = Field(None, description="Number of the last fact that is in the store")
    waiting: int | None = Field(None, description="Facts that are waiting for the store")
    oldest_seconds: int | None = Field(None, description="How long the oldest of them has waited")
    bytes: int | None = Field(None, description="Size of the journal")
    aside: int | None = Field(None, description="Facts set aside because the store refused them")
    problem: str | None = Field(None, description="Why the store accepts no facts at all")


class ReadyAnswer(BaseModel):
    status: Literal["ready"]
    release: str
    problem: str | None = Field(description="Why a newer release is not served, if one is refused")
    notes: list[str] = Field(
        description="What is wrong in segments.toml or rules.toml, if it cannot be used"
    )
    writes: Literal["carried", "wait", "refused"] = Field(
        description="Whether writes reach the store, wait in the inbox until it accepts them, or "
        "are answered with 503"
    )
    inbox: InboxAnswer


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
