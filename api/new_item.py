"""What a request says about an item that the catalogue does not have."""

from typing import Any

from pydantic import Field

from api.schemas import MOST_ITEMS, Cursor, FilterBody, Ids, Strict
from graph.ids import as_id
from recommender.ranking.filter_language import parse_conditions
from recommender.ranking.request import NEUTRAL, NewItem, Request

LONGEST_TITLE = 2000  # characters


class NewItemBody(Strict):
    """What is known of an item that the catalogue does not have."""

    title: str = Field("", max_length=LONGEST_TITLE, description="Its words count, not the order.")
    tags: Ids = Field([], description="Names of tags, or `category:name`.")
    domains: Ids = Field([], description="Names of domains.")
    related: Ids = Field([], description="Ids of items it is related to.")
    attributes: dict[str, Any] = Field(
        {},
        description="As of items: texts among them, and numbers that the weighting names, count.",
    )
    n: int = Field(20, ge=1, le=MOST_ITEMS, description="How many items.", strict=True)
    filter: FilterBody = Field({})
    cursor: Cursor = None

    def request(self) -> Request:
        """As the recommender takes it."""
        conditions = parse_conditions(self.filter)
        return Request(
            new_item=NewItem(
                as_id(self.title),
                tuple(self.tags),
                tuple(self.domains),
                tuple(self.related),
                self.attributes,
            ),
            n=self.n,
            filter=conditions.filter,
            exclude=conditions.exclude,
            only_seen=conditions.seen == "only",
            profile=NEUTRAL,
            cursor=self.cursor,
        )
