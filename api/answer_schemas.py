"""The answers of the HTTP API, as the OpenAPI document shows them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

Release = Annotated[str, Field(description="Name of the release that answered.")]
Notes = Annotated[list[str], Field(description="What the caller should know, in sentences.")]
ServedBy = Annotated[
    str, Field(description="What the list is made from: history, session, tags, popular …")
]
Label = Annotated[
    str | None, Field(description="`sponsored` or `pinned`, if a rule placed the item.")
]
Interest = Annotated[
    str | None,
    Field(description="Which of the user's interests the item comes from, if `interests` was set."),
]


class ReasonAnswer(BaseModel):
    text: str = Field(description="A sentence for people.")
    path: list[dict[str, str]] = Field(description="The nodes from the user to the item.")
    share: float = Field(description="How much of the item's score it accounts for, 0 to 1.")


class _Scored(BaseModel):
    item: str = Field(description="Id of the item.")
    title: str = Field(description="As people see it.")
    score: float = Field(description="What the list is ordered by, before rules and reranking.")
    source: str = Field(description="What put the item into the list.")
    parts: dict[str, float] = Field(description="What the score is the sum of.")
    tags: list[str] = Field(description="Up to 20; those that say most first.")
    domains: list[str] = Field(description="All of its domains.")


class ItemAnswer(_Scored):
    reasons: list[ReasonAnswer] = Field(
        description="Strongest first; none if nothing speaks for the item."
    )
    label: Label
    interest: Interest


class ListAnswer(BaseModel):
    items: list[ItemAnswer] = Field(
        description="Best first; fewer than `n` if no more are allowed."
    )
    served_by: ServedBy
    fallback: str | None = Field(
        description="Why the list had to be filled in another way; null if it had not."
    )
    release: Release
    profile: str = Field(description="The profile of reranking that was used.")
    segment: str | None = Field(description="The segment that chose the profile.")
    notes: Notes
    next: str | None = Field(description="Cursor of the next page; null if there is none.")
    request_id: str = Field(description="Send it back with impressions and clicks of this answer.")


class CypherAnswer(BaseModel):
    query: str = Field(description="Can be sent to `POST /v1/cypher` as it is.")
    parameters: dict[str, Any] = Field(description="By name, without the $.")


class RowsAnswer(BaseModel):
    columns: list[str] = Field(description="Their names.")
    rows: list[list[Any]] = Field(description="Nodes, relationships and paths are objects.")
    truncated: bool = Field(description="Whether the limit of rows or bytes was reached.")
    ms: float = Field(description="How long it took, in milliseconds.")
    times: list[bool] = Field(description="For each column: is it seconds since 1970?")


class WhyReason(ReasonAnswer):
    cypher: CypherAnswer = Field(description="A query that shows this path in the graph.")


class WhyAnswer(_Scored):
    user: str = Field(description="Id of the user.")
    reasons: list[WhyReason] = Field(description="Strongest first.")
    label: Label
    interest: Interest
    drawing: list[str] = Field(description="Each path as a line of text.")
    cypher: CypherAnswer | None = Field(
        description="A query that shows the strongest path in the graph; null: no reason is known."
    )
    served_by: ServedBy
    release: Release
    notes: Notes


class RisingTag(BaseModel):
    category: str = Field(description="Category of the tag.")
    tag: str = Field(description="Its name.")
    people: float = Field(description="How many chose an item with this tag lately, 20 or more.")
    usual: float = Field(description="How many one would expect from the next longer window.")
    growth: float = Field(description="`people` divided by `usual`, with 20 added to both.")


class RisingAnswer(BaseModel):
    tags: list[RisingTag] = Field(description="Most growth first.")
    window: str = Field(description="hour, day or week.")
    release: Release


class ManyAnswer(BaseModel):
    answers: list[ListAnswer] = Field(description="One for each subject, in order.")


class RateAnswer(BaseModel):
    name: str = Field(
        description="Name of the source, segment, release or rule, or the place in the list."
    )
    shown: int = Field(description="How many items of lists were shown.")
    clicked: int = Field(description="How many of these were clicked.")
    rate: float = Field(description="Clicks per item shown.")
    low: float = Field(description="Lower end of the 95% interval.")
    high: float = Field(description="Upper end of the 95% interval.")


class RatesAnswer(BaseModel):
    source: list[RateAnswer] = Field(description="By source.")
    position: list[RateAnswer] = Field(description="By place in the list.")
    segment: list[RateAnswer] = Field(description="By segment.")
    release: list[RateAnswer] = Field(description="By release.")
    rule: list[RateAnswer] = Field(description="By rule.")


class OnlineAnswer(BaseModel):
    since: int | None = Field(description="Only what was shown from then on, seconds since 1970.")
    shown: int = Field(
        description="How many items of lists were shown; 0 if to fewer than 20 people."
    )
    clicked: int = Field(description="How many of these were clicked.")
    rate: float | None = Field(None, description="Clicks per item shown.")
    low: float | None = Field(None, description="Lower end of the 95% interval.")
    high: float | None = Field(None, description="Upper end of the 95% interval.")
    by: RatesAnswer = Field(description="The same for each group.")
    left_out: int = Field(
        description="How many groups are left out, for having fewer than 20 people."
    )


class SegmentAnswer(BaseModel):
    name: str = Field(description="What marks it, or the name that a rule gives it.")
    users: int | None = Field(
        description="How many are in it; null if a rule defines it, as each request then decides."
    )
    persona: str = Field(description="What its users have in common, in a sentence.")
    profile: str = Field(description="The profile of reranking that it gets.")
    weights: dict[str, float | str] = Field(
        description="The weights of that profile, and its `method`: mmr or dpp."
    )


class SegmentsAnswer(BaseModel):
    release: Release
    method: str = Field(description="How users were grouped.")
    note: str | None = Field(description="What to know about the grouping.")
    segments: list[SegmentAnswer] = Field(description="All, or those of the user asked for.")
    user: str | None = Field(None, description="The user asked for.")
    profile: str | None = Field(None, description="The profile that their lists are made with.")
    moves: float | None = Field(None, description="Chance of changing segment, if predicted.")
    returns: float | None = Field(None, description="Chance of coming back, if predicted.")


class SimilarUsersAnswer(BaseModel):
    users: int = Field(description="How many of the most similar users this is about.")
    segments: list[dict[str, Any]] = Field(description="Segments that 20 or more are in.")
    domains: list[dict[str, Any]] = Field(description="Domains that 20 or more chose from.")
    items: list[dict[str, Any]] = Field(description="Items that 20 or more chose.")
    release: Release


class LiveAnswer(BaseModel):
    status: Literal["live"] = Field(description="The process runs.")


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
    status: Literal["ready"] = Field(description="Lists are served.")
    release: Release
    problem: str | None = Field(description="Why a newer release is not served, if one is refused")
    notes: list[str] = Field(
        description="What is wrong in segments.toml or rules.toml, if it cannot be used"
    )
    writes: Literal["carried", "wait", "refused"] = Field(
        description="Whether writes reach the store, wait in the inbox until it accepts them, or "
        "are answered with 503"
    )
    inbox: InboxAnswer = Field(description="How far writes have got.")


class FieldError(BaseModel):
    field: str = Field(description="Its path in the request.")
    message: str = Field(description="What is wrong with it.")


class ProblemAnswer(BaseModel):
    """An error, as RFC 9457 has it."""

    type: str = Field(description="Always about:blank: the status says which kind it is.")
    title: str = Field(description="Name of the status.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What is wrong, and what to do.")
    instance: str = Field(description="The path that was asked for.")
    errors: list[FieldError] = Field([], description="Which fields are wrong.")
