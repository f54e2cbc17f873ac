"""`/live`: the process runs. `/ready`: it has a release and can answer; else 503 and why."""

from typing import Any

from flask_openapi3 import OpenAPI, Tag

from api.answer_schemas import LiveAnswer, ReadyAnswer
from api.bootstrap import now
from api.errors import for_strangers
from api.inputs import checked
from api.schemas import NoQuery
from graph.errors import NichegraphError
from recommender.inbox.journal import Journal
from recommender.inbox.lag import lag
from recommender.serving.live import Live

TAG = Tag(name="health", description="For load balancers and supervisors.")


def register(app: OpenAPI, live: Live, journal: Journal) -> None:
    """Add the routes."""

    @app.get("/live", tags=[TAG], summary="The process runs", responses={200: LiveAnswer})
    @checked
    def is_live(query: NoQuery) -> dict[str, Any]:
        del query
        return {"status": "live"}

    @app.get("/ready", tags=[TAG], summary="A release is served", responses={200: ReadyAnswer})
    @checked
    def is_ready(query: NoQuery) -> dict[str, Any]:
        del query
        release = live.recommender().release.name
        inbox = {name: _plain(value) for name, value in _inbox(journal).items()}
        notes = [_plain(note) for note in (live.segments_problem, live.rules_problem) if note]
        return {
            "status": "ready",
            "release": release,
            "problem": _plain(live.problem),
            "notes": notes,
            "writes": _writes(inbox),
            "inbox": inbox,
        }


def _plain(value: Any) -> Any:
    return for_strangers(value) if isinstance(value, str) else value


def _writes(inbox: dict[str, Any]) -> str:
    if inbox["closed"] is not None:
        return "refused"
    return "wait" if inbox.get("problem") is not None else "carried"


def _inbox(journal: Journal) -> dict[str, Any]:
    """How writes stand; lists are served even if the journal takes no writes."""
    closed = None
    try:
        closed = journal.why_closed()
        facts = lag(journal, now=now()).as_dict()
    except NichegraphError as error:
        closed, facts = str(error), {}
    return facts | {"closed": closed}
