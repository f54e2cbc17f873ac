"""Every call: its route, what goes with it, and how its answer is read. Both clients use these.

A function is named like the operation in the OpenAPI document.
"""

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, Unpack, cast
from urllib.parse import quote

import httpx

from nichegraph_client import answers
from nichegraph_client.bodies import (
    Choice,
    Consent,
    Event,
    NewItem,
    Paged,
    Subject,
    Trending,
    UserChoice,
)
from nichegraph_client.errors import Malformed, Problem, Unreachable
from nichegraph_client.reading import read
from nichegraph_client.retries import Outcome

T = TypeVar("T")


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request, to be sent as often as it takes."""

    method: str
    route: str  # as the OpenAPI document writes it
    answer: type[T]
    names: Mapping[str, str] = field(default_factory=dict)  # what stands in the braces of the route
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def path(self) -> str:
        """The route with its names filled in, percent-encoded."""
        return self.route.format(**{name: _segment(value) for name, value in self.names.items()})

    def parameters(self) -> dict[str, list[str]]:
        """The query; what is None is left out, and a list repeats its name."""
        listed = {
            name: value if isinstance(value, list | tuple) else [value]
            for name, value in self.query.items()
        }
        return {
            name: [_text(entry) for entry in entries if entry is not None]
            for name, entries in listed.items()
        }

    def headers_with(self, subject: str | Callable[[], str] | None) -> dict[str, str]:
        """The headers of this call, with the signed subject if there is one."""
        if subject is None:
            return dict(self.headers)
        return {**self.headers, "X-Subject": subject() if callable(subject) else subject}

    def result(self, outcome: Outcome) -> T:
        """The answer; or the error that the outcome is."""
        if isinstance(outcome, Unreachable):
            raise outcome
        content = _json(outcome)
        if outcome.is_success:
            if content is None:
                raise Malformed(f"the answer to {self.method} {self.route} is not JSON")
            return read(self.answer, content)
        known = content if isinstance(content, dict) else {}
        raise Problem(outcome.status_code, known, outcome.text[:300])


def headers(key: str | None) -> dict[str, str]:
    """The headers of every call."""
    return {"Accept": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})


def event(user: str, item: str, kind: str, more: Mapping[str, Any]) -> Event:
    """One event of its parts."""
    return cast("Event", {"user": user, "item": item, "kind": kind, **more})


def recommend(user: str, **choice: Unpack[UserChoice]) -> Call[answers.ListAnswer]:
    """A list for a user."""
    route = "/v1/users/{user}/recommendations"
    return Call("GET", route, answers.ListAnswer, {"user": user}, choice)


def recommend_to_many(subjects: Sequence[Subject]) -> Call[answers.ManyAnswer]:
    """Lists for up to 1,000 subjects."""
    body = {"subjects": list(subjects)}
    return Call("POST", "/v1/recommendations", answers.ManyAnswer, body=body)


def explain(user: str, item: str) -> Call[answers.WhyAnswer]:
    """Why an item is, or would be, shown."""
    route = "/v1/users/{user}/recommendations/{item}/why"
    return Call("GET", route, answers.WhyAnswer, {"user": user, "item": item})


def similar_items(item: str, **choice: Unpack[Paged]) -> Call[answers.ListAnswer]:
    """Items similar to an item."""
    route = "/v1/items/{item}/similar"
    return Call("GET", route, answers.ListAnswer, {"item": item}, choice)


def similar_to_new_item(new: NewItem) -> Call[answers.ListAnswer]:
    """Items similar to one that the catalogue does not have yet."""
    return Call("POST", "/v1/items/similar", answers.ListAnswer, body=dict(new))


def tag_items(name: str, **choice: Unpack[Paged]) -> Call[answers.ListAnswer]:
    """Items that carry a tag."""
    return Call("GET", "/v1/tags/items", answers.ListAnswer, query={"name": name, **choice})


def popular_items(**choice: Unpack[Paged]) -> Call[answers.ListAnswer]:
    """What many chose."""
    return Call("GET", "/v1/popular", answers.ListAnswer, query=choice)


def latest_items(**choice: Unpack[Choice]) -> Call[answers.ListAnswer]:
    """The newest items."""
    return Call("GET", "/v1/latest", answers.ListAnswer, query=choice)


def trending_items(**choice: Unpack[Trending]) -> Call[answers.ListAnswer]:
    """What more people choose lately than before."""
    return Call("GET", "/v1/trending", answers.ListAnswer, query=choice)


def rising_tags(**choice: Unpack[Trending]) -> Call[answers.RisingAnswer]:
    """Tags whose items more people choose lately than before."""
    return Call("GET", "/v1/trending/tags", answers.RisingAnswer, query=choice)


def search(q: str, *, kind: Sequence[str] = (), n: int | None = None) -> Call[answers.SearchAnswer]:
    """Items, tags and users by what somebody types."""
    query = {"q": q, "kind": list(kind), "n": n}
    return Call("GET", "/v1/search", answers.SearchAnswer, query=query)


def events(entries: Sequence[Event], *, atomic: bool = False) -> Call[answers.WriteAnswer]:
    """What users did; an event without an `event_id` is given one, so that it counts once."""
    named = [{"event_id": str(uuid.uuid4()), **entry} for entry in entries]
    body = {"events": named, "atomic": atomic}
    return Call("POST", "/v1/events", answers.WriteAnswer, body=body)


def post_items(
    items: Sequence[Mapping[str, Any]], *, atomic: bool = False
) -> Call[answers.WriteAnswer]:
    """Put up to 10,000 items, each with its `id`."""
    body = {"items": list(items), "atomic": atomic}
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    return Call("POST", "/v1/items", answers.WriteAnswer, body=body, headers=headers)


def put_item(item: str, fields: Mapping[str, Any]) -> Call[answers.WriteAnswer]:
    """Put a whole item; fields that are not named are emptied."""
    return Call("PUT", "/v1/items/{item}", answers.WriteAnswer, {"item": item}, body=dict(fields))


def patch_item(item: str, fields: Mapping[str, Any]) -> Call[answers.WriteAnswer]:
    """Change some fields of an item; None removes a value."""
    return Call("PATCH", "/v1/items/{item}", answers.WriteAnswer, {"item": item}, body=dict(fields))


def delete_item(item: str) -> Call[answers.WriteAnswer]:
    """Remove an item."""
    return Call("DELETE", "/v1/items/{item}", answers.WriteAnswer, {"item": item})


def get_item(item: str) -> Call[answers.KnownItemAnswer]:
    """What is known about an item."""
    return Call("GET", "/v1/items/{item}", answers.KnownItemAnswer, {"item": item})


def put_user(user: str, attributes: Mapping[str, Any]) -> Call[answers.WriteAnswer]:
    """Put what a user says about themselves."""
    body = {"attributes": dict(attributes)}
    return Call("PUT", "/v1/users/{user}", answers.WriteAnswer, {"user": user}, body=body)


def post_alias(user: str, anonymous: str) -> Call[answers.WriteAnswer]:
    """Tell under which id a user was known before, such as that of a session."""
    route = "/v1/users/{user}/alias"
    body = {"anonymous": anonymous}
    return Call("POST", route, answers.WriteAnswer, {"user": user}, body=body)


def get_user(user: str) -> Call[answers.KnownUserAnswer]:
    """What is known about a user."""
    return Call("GET", "/v1/users/{user}", answers.KnownUserAnswer, {"user": user})


def put_consent(user: str, **consent: Unpack[Consent]) -> Call[answers.WriteAnswer]:
    """Set what a user agrees to."""
    route = "/v1/users/{user}/consent"
    return Call("PUT", route, answers.WriteAnswer, {"user": user}, body=consent)


def get_data(user: str) -> Call[answers.DataAnswer]:
    """Everything that is known about a user; answered on the service's own machine only."""
    return Call("GET", "/v1/users/{user}/data", answers.DataAnswer, {"user": user})


def delete_user(user: str) -> Call[answers.ErasureAnswer]:
    """Forget a user, everywhere."""
    return Call("DELETE", "/v1/users/{user}", answers.ErasureAnswer, {"user": user})


def get_erasure(sequence: int) -> Call[answers.ErasureAnswer]:
    """Which places an erasure has reached."""
    route = "/v1/erasures/{sequence}"
    return Call("GET", route, answers.ErasureAnswer, {"sequence": str(sequence)})


def get_segments(user: str | None = None) -> Call[answers.SegmentsAnswer]:
    """How users are grouped; with a user, which groups they are in."""
    return Call("GET", "/v1/segments", answers.SegmentsAnswer, query={"user": user})


def get_similar_users(user: str, *, n: int | None = None) -> Call[answers.SimilarUsersAnswer]:
    """What the most similar users have in common; off unless the service has it switched on."""
    route = "/v1/users/{user}/similar"
    return Call("GET", route, answers.SimilarUsersAnswer, {"user": user}, {"n": n})


def run_cypher(query: str, parameters: Mapping[str, Any] | None = None) -> Call[answers.RowsAnswer]:
    """The rows of a query that only reads; needs the service's console switched on."""
    body = {"query": query, "parameters": dict(parameters or {})}
    return Call("POST", "/v1/cypher", answers.RowsAnswer, body=body)


def get_releases() -> Call[answers.ReleasesAnswer]:
    """The published releases."""
    return Call("GET", "/v1/releases", answers.ReleasesAnswer)


def is_live() -> Call[answers.LiveAnswer]:
    """Whether the process runs."""
    return Call("GET", "/live", answers.LiveAnswer)


def is_ready() -> Call[answers.ReadyAnswer]:
    """Whether a release is served, and how the inbox is; `Problem` 503 where none is."""
    return Call("GET", "/ready", answers.ReadyAnswer)


def _segment(value: str) -> str:
    """An id as a part of a path; a dot is encoded, as `..` would walk up."""
    return quote(value, safe="").replace(".", "%2E")


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, Mapping) else str(value)


def _json(response: httpx.Response) -> object:
    try:
        content: object = response.json()
    except ValueError:
        return None
    return content
