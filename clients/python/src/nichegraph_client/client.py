"""The client for ordinary code; each call waits for its answer."""

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx

from nichegraph_client import answers, calls
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
from nichegraph_client.calls import Call
from nichegraph_client.errors import Unreachable
from nichegraph_client.retries import Outcome, Retries

T = TypeVar("T")


class Client:
    """A service at an address. Close it at the end, or use it in a `with`."""

    def __init__(
        self,
        address: str,
        *,
        key: str | None = None,
        subject: str | Callable[[], str] | None = None,
        timeout: float = 10.0,
        retries: Retries | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Remember where to ask; nothing is sent.

        Args:
            address: such as `https://shop.example/recommend`; routes are appended to it.
            key: an API key; needed where the service has keys.
            subject: a signed subject, or a function that makes a fresh one for each request.
            timeout: seconds for connecting, and for each pause in an answer.
            retries: how often a request is sent again, and when.
            transport: how httpx reaches the service, for tests.
            sleep: waits between tries.
        """
        self._address = address.rstrip("/")
        self._subject = subject
        self._retries = retries or Retries()
        self._sleep = sleep
        self._http = httpx.Client(headers=calls.headers(key), timeout=timeout, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def track(self, user: str, item: str, kind: str = "view", **more: Any) -> answers.WriteAnswer:
        """What a user did to an item: `value`, `tag`, `at` and `event_id` may be given too."""
        return self.events([calls.event(user, item, kind, more)])

    def recommend(self, user: str, **choice: Unpack[UserChoice]) -> answers.ListAnswer:
        """A list for a user."""
        return self._ask(calls.recommend(user, **choice))

    def recommend_to_many(self, subjects: Sequence[Subject]) -> answers.ManyAnswer:
        """Lists for up to 1,000 subjects."""
        return self._ask(calls.recommend_to_many(subjects))

    def explain(self, user: str, item: str) -> answers.WhyAnswer:
        """Why an item is, or would be, shown."""
        return self._ask(calls.explain(user, item))

    def similar_items(self, item: str, **choice: Unpack[Paged]) -> answers.ListAnswer:
        """Items similar to an item."""
        return self._ask(calls.similar_items(item, **choice))

    def similar_to_new_item(self, new: NewItem) -> answers.ListAnswer:
        """Items similar to one that the catalogue does not have yet."""
        return self._ask(calls.similar_to_new_item(new))

    def tag_items(self, name: str, **choice: Unpack[Paged]) -> answers.ListAnswer:
        """Items that carry a tag."""
        return self._ask(calls.tag_items(name, **choice))

    def popular_items(self, **choice: Unpack[Paged]) -> answers.ListAnswer:
        """What many chose."""
        return self._ask(calls.popular_items(**choice))

    def latest_items(self, **choice: Unpack[Choice]) -> answers.ListAnswer:
        """The newest items."""
        return self._ask(calls.latest_items(**choice))

    def trending_items(self, **choice: Unpack[Trending]) -> answers.ListAnswer:
        """What more people choose lately than before."""
        return self._ask(calls.trending_items(**choice))

    def rising_tags(self, **choice: Unpack[Trending]) -> answers.RisingAnswer:
        """Tags whose items more people choose lately than before."""
        return self._ask(calls.rising_tags(**choice))

    def search(
        self, q: str, *, kind: Sequence[str] = (), n: int | None = None
    ) -> answers.SearchAnswer:
        """Items, tags and users by what somebody types."""
        return self._ask(calls.search(q, kind=kind, n=n))

    def events(self, entries: Sequence[Event], *, atomic: bool = False) -> answers.WriteAnswer:
        """What users did; an event without an `event_id` is given one, so that it counts once."""
        return self._ask(calls.events(entries, atomic=atomic))

    def post_items(
        self, items: Sequence[Mapping[str, Any]], *, atomic: bool = False
    ) -> answers.WriteAnswer:
        """Put up to 10,000 items, each with its `id`."""
        return self._ask(calls.post_items(items, atomic=atomic))

    def put_item(self, item: str, fields: Mapping[str, Any]) -> answers.WriteAnswer:
        """Put a whole item; fields that are not named are emptied."""
        return self._ask(calls.put_item(item, fields))

    def patch_item(self, item: str, fields: Mapping[str, Any]) -> answers.WriteAnswer:
        """Change some fields of an item; None removes a value."""
        return self._ask(calls.patch_item(item, fields))

    def delete_item(self, item: str) -> answers.WriteAnswer:
        """Remove an item."""
        return self._ask(calls.delete_item(item))

    def get_item(self, item: str) -> answers.KnownItemAnswer:
        """What is known about an item."""
        return self._ask(calls.get_item(item))

    def put_user(self, user: str, attributes: Mapping[str, Any]) -> answers.WriteAnswer:
        """Put what a user says about themselves."""
        return self._ask(calls.put_user(user, attributes))

    def post_alias(self, user: str, anonymous: str) -> answers.WriteAnswer:
        """Tell under which id a user was known before, such as that of a session."""
        return self._ask(calls.post_alias(user, anonymous))

    def get_user(self, user: str) -> answers.KnownUserAnswer:
        """What is known about a user."""
        return self._ask(calls.get_user(user))

    def put_consent(self, user: str, **consent: Unpack[Consent]) -> answers.WriteAnswer:
        """Set what a user agrees to."""
        return self._ask(calls.put_consent(user, **consent))

    def get_data(self, user: str) -> answers.DataAnswer:
        """Everything that is known about a user; answered on the service's own machine only."""
        return self._ask(calls.get_data(user))

    def delete_user(self, user: str) -> answers.ErasureAnswer:
        """Forget a user, everywhere."""
        return self._ask(calls.delete_user(user))

    def get_erasure(self, sequence: int) -> answers.ErasureAnswer:
        """Which places an erasure has reached."""
        return self._ask(calls.get_erasure(sequence))

    def get_segments(self, user: str | None = None) -> answers.SegmentsAnswer:
        """How users are grouped; with a user, which groups they are in."""
        return self._ask(calls.get_segments(user))

    def get_similar_users(self, user: str, *, n: int | None = None) -> answers.SimilarUsersAnswer:
        """What the most similar users have in common; off unless the service has it switched on."""
        return self._ask(calls.get_similar_users(user, n=n))

    def run_cypher(
        self, query: str, parameters: Mapping[str, Any] | None = None
    ) -> answers.RowsAnswer:
        """The rows of a query that only reads; needs the service's console switched on."""
        return self._ask(calls.run_cypher(query, parameters))

    def get_releases(self) -> answers.ReleasesAnswer:
        """The published releases."""
        return self._ask(calls.get_releases())

    def is_live(self) -> answers.LiveAnswer:
        """Whether the process runs."""
        return self._ask(calls.is_live())

    def is_ready(self) -> answers.ReadyAnswer:
        """Whether a release is served, and how the inbox is; `Problem` 503 where none is."""
        return self._ask(calls.is_ready())

    def _ask(self, call: Call[T]) -> T:
        tried = 0
        while True:
            tried += 1
            outcome = self._once(call)
            pause = self._retries.pause_after(outcome, tried)
            if pause is None:
                return call.result(outcome)
            self._sleep(pause)

    def _once(self, call: Call[Any]) -> Outcome:
        try:
            return self._http.request(
                call.method,
                self._address + call.path(),
                params=call.parameters(),
                json=call.body,
                headers=call.headers_with(self._subject),
            )
        except httpx.TransportError as error:
            return Unreachable.at(self._address, error)
