"""What the routes for exploring ask and answer, as the OpenAPI document shows it."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field

from api.schemas import Strict, _whole

Kind = Literal["item", "user", "tag"]
Few = Annotated[int, Field(ge=1, le=50), BeforeValidator(_whole)]


class SearchQuery(Strict):
    q: str = Field(min_length=1, max_length=200, description="Words, or how they begin.")
    kind: list[Kind] = Field(
        ["item", "tag", "user"], max_length=3, description="What to look for; may be repeated."
    )
    n: Few = Field(10, description="How many of each kind.")


class HitAnswer(BaseModel):
    kind: Kind
    id: str = Field(description="Of an item or a user; of a tag its name.")
    title: str
    note: str = Field(description="What tells namesakes apart.")
    score: float = Field(description="1 where every word is there as it was typed.")


class SearchAnswer(BaseModel):
    hits: list[HitAnswer]
    release: str
    notes: list[str]
