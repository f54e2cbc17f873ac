"""What the routes for exploring take and answer, as the OpenAPI document shows it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field

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
    kind: Kind
    id: str = Field(description="Id of an item or a user; name of a tag.")
    title: str
    note: str = Field(description="Tells hits of the same name apart.")
    score: float = Field(description="1 if every word matches exactly as typed.")


class SearchAnswer(BaseModel):
    hits: list[HitAnswer]
    release: str
    notes: list[str]


class AroundQuery(Strict):
    kind: Literal["item", "tag", "domain", "user"]
    id: Id = Field(description="Id of an item or a user; name of a tag or a domain.")
    n: Few = Field(12, description="How many neighbours along each kind of edge.")


class NodeAnswer(BaseModel):
    key: str = Field(description="Kind and id, as edges refer to it.")
    kind: Literal["item", "tag", "domain", "user"]
    id: str
    text: str
    weight: float = Field(description="How popular an item is, 0 … 1.")


class EdgeAnswer(BaseModel):
    source: str
    target: str
    kind: str
    weight: float = Field(description="0 … 1")


class GraphAnswer(BaseModel):
    nodes: list[NodeAnswer] = Field(description="The node itself first.")
    edges: list[EdgeAnswer]
    release: str


class SpanAnswer(BaseModel):
    begins: int = Field(description="Seconds since 1970.")
    ends: int
    people: int = Field(
        description="How many users chose it last in this time span; 0 for fewer than 3."
    )


class PopularityAnswer(BaseModel):
    spans: list[SpanAnswer]
    release: str


class RegionAnswer(BaseModel):
    name: str
    domain: int = Field(description="Its number, as in the points.")
    items: int
    x: float
    y: float


class MapAnswer(BaseModel):
    release: str
    items: int
    regions: list[RegionAnswer] = Field(description="The largest domains, and where they lie.")


class MapQuery(Strict):
    release: Id = Field(description="The release's name, as in `/v1/map`.")


Row = Annotated[int, Field(ge=0, le=2**31), BeforeValidator(_integer)]


class MapItemsQuery(Strict):
    row: list[Row] = Field([], max_length=200, description="Rows of the map; may be repeated.")
    item: Ids = Field([], description="Ids of items; may be repeated.")
    user: Id | None = Field(None, description="Items this user chose; for this machine only.")


class MapItemAnswer(BaseModel):
    row: int
    id: str
    title: str


class MapItemsAnswer(BaseModel):
    items: list[MapItemAnswer]
    release: str


class QuestionAnswer(BaseModel):
    name: str
    title: str
    sentence: str
    query: str
    parameters: dict[str, Any] = Field(description="An example value of each.")


class WordsAnswer(BaseModel):
    labels: list[str]
    relationships: list[str]
    properties: list[str]


class QuestionsAnswer(BaseModel):
    questions: list[QuestionAnswer]
    words: WordsAnswer = Field(description="What the graph is made of.")


class PointAnswer(BaseModel):
    x: float
    y: float
    segment: int = Field(description="Index into `names`, from 0.")


class SegmentPictureAnswer(BaseModel):
    names: list[str]
    points: list[PointAnswer] = Field(description="A sample of users; similar users lie close.")
    users: dict[str, list[str]] = Field(description="Some of each segment; for this machine only.")
    release: str


class RulesBody(Strict):
    rules: str = Field(max_length=100_000, description="As in `rules.toml`.")
    users: int = Field(
        200, ge=1, le=1000, strict=True, description="How many users to try the rules on."
    )


class EffectAnswer(BaseModel):
    rule: str
    do: str
    changed: float = Field(description="Share of the lists that change.")
    new: float = Field(description="Mean share of a list that is new.")
    cost: float = Field(description="Share of the relevance that is given up.")


class EffectsAnswer(BaseModel):
    rows: list[EffectAnswer]
    notes: list[str]
    release: str
