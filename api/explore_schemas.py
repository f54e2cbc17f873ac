"""What the routes for exploring take and answer, as the OpenAPI document shows it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field

from api.answer_schemas import Notes, Release
from api.schemas import Id, Ids, Strict, _integer

Kind = Literal["item", "user", "tag"]
Few = Annotated[int, Field(ge=1, le=50), BeforeValidator(_integer)]


class SearchQuery(Strict):
    q: str = Field(min_length=1, max_length=200, description="Words, or the beginnings of words.")
    kind: list[Kind] = Field(
        ["item", "tag", "user"], max_length=3, description="What to look for; may be repeated."
    )
    n: Few = Field(10, description="How many of each kind.")


class HitAnswer(BaseModel):
    kind: Kind = Field(description="What it is.")
    id: str = Field(description="Id of an item or a user; name of a tag.")
    title: str = Field(description="As people see it.")
    note: str = Field(description="Tells hits with the same title apart.")
    score: float = Field(description="1 if every word matches exactly as typed.")


class SearchAnswer(BaseModel):
    hits: list[HitAnswer] = Field(description="Best first.")
    release: Release
    notes: Notes


class AroundQuery(Strict):
    kind: Literal["item", "tag", "domain", "user"] = Field(description="Kind of the node.")
    id: Id = Field(description="Id of an item or a user; name of a tag or a domain.")
    n: Few = Field(12, description="How many neighbours along each kind of edge.")


class NodeAnswer(BaseModel):
    key: str = Field(description="Kind and id, as edges refer to it.")
    kind: Literal["item", "tag", "domain", "user"] = Field(description="Kind of the node.")
    id: str = Field(description="Id of an item or a user; name of a tag or a domain.")
    text: str = Field(description="What to write beside it.")
    weight: float = Field(description="How popular an item is, 0 … 1.")


class EdgeAnswer(BaseModel):
    source: str = Field(description="Key of a node.")
    target: str = Field(description="Key of a node.")
    kind: str = Field(description="Kind of the edge.")
    weight: float = Field(description="How strong it is, 0 … 1.")


class GraphAnswer(BaseModel):
    nodes: list[NodeAnswer] = Field(description="The node itself first.")
    edges: list[EdgeAnswer] = Field(description="Edges between these nodes.")
    release: Release


class SpanAnswer(BaseModel):
    begins: int = Field(description="When it begins, in seconds since 1970.")
    ends: int = Field(description="When it ends, in seconds since 1970.")
    people: int = Field(
        description="How many users last chose it in this time; shown as 0 if fewer than 3."
    )


class PopularityAnswer(BaseModel):
    spans: list[SpanAnswer] = Field(description="Oldest first; none if fewer than 40 chose it.")
    release: Release


class RegionAnswer(BaseModel):
    name: str = Field(description="Name of the domain.")
    domain: int = Field(description="Its number, as in the points.")
    items: int = Field(description="How many items it has.")
    x: float = Field(description="Where its middle lies.")
    y: float = Field(description="Where its middle lies.")


class MapAnswer(BaseModel):
    release: Release
    items: int = Field(description="How many points the map has.")
    regions: list[RegionAnswer] = Field(description="The largest domains, and where they lie.")


class MapQuery(Strict):
    release: Id = Field(description="The release's name, as in `/v1/map`.")


Row = Annotated[int, Field(ge=0, le=2**31), BeforeValidator(_integer)]


class MapItemsQuery(Strict):
    row: list[Row] = Field([], max_length=200, description="Rows of the map; may be repeated.")
    item: Ids = Field([], description="Ids of items; may be repeated.")
    user: Id | None = Field(
        None,
        description="Also items that this user chose; only for this machine or a `privacy` key.",
    )


class MapItemAnswer(BaseModel):
    row: int = Field(description="Its row of the map, from 0.")
    id: str = Field(description="Id of the item.")
    title: str = Field(description="As people see it.")


class MapItemsAnswer(BaseModel):
    items: list[MapItemAnswer] = Field(description="Items on these rows, or asked for by id.")
    release: Release


class QuestionAnswer(BaseModel):
    name: str = Field(description="As `nichegraph explore --question` takes it.")
    title: str = Field(description="The question in a few words.")
    sentence: str = Field(description="What the rows say.")
    query: str = Field(description="The question in Cypher.")
    parameters: dict[str, Any] = Field(description="An example value of each.")


class WordsAnswer(BaseModel):
    labels: list[str] = Field(description="Labels of nodes.")
    relationships: list[str] = Field(description="Types of relationships.")
    properties: list[str] = Field(description="Properties of both.")


class QuestionsAnswer(BaseModel):
    questions: list[QuestionAnswer] = Field(description="Ready-made questions.")
    words: WordsAnswer = Field(description="What the graph is made of.")


class PointAnswer(BaseModel):
    x: float = Field(description="Where it lies.")
    y: float = Field(description="Where it lies.")
    segment: int = Field(description="Index into `names`, from 0.")


class SegmentPictureAnswer(BaseModel):
    names: list[str] = Field(description="Names of the segments.")
    points: list[PointAnswer] = Field(description="A sample of users; similar users lie close.")
    users: dict[str, list[str]] = Field(
        description="Some users of each segment; only for this machine or a `privacy` key."
    )
    release: Release


class RulesBody(Strict):
    rules: str = Field(max_length=100_000, description="As in `rules.toml`.")
    users: int = Field(
        200, ge=1, le=1000, strict=True, description="How many users to try the rules on."
    )


class EffectAnswer(BaseModel):
    rule: str = Field(description="Name of the rule.")
    do: str = Field(description="What it does: pin, boost, hide …")
    changed: float = Field(description="Share of the lists that change.")
    new: float = Field(description="Mean share of a list that the rule puts there.")
    cost: float = Field(description="Share of the relevance that is given up.")


class EffectsAnswer(BaseModel):
    rows: list[EffectAnswer] = Field(description="One for each rule.")
    notes: Notes
    release: Release
