"""What users do, sent by an application."""

from flask_openapi3 import OpenAPI, Tag

from api.bootstrap import now
from api.errors import Problem
from api.feedback import feedback_facts, is_feedback
from api.inputs import checked, has_key
from api.limiter import charge
from api.write_schemas import EventsBody, WriteAnswer
from api.writing import Answer, write
from loaders.entries import Refused, check_events
from recommender.inbox.facts import Fact, fact
from recommender.inbox.journal import Journal

TAG = Tag(name="writing", description="What is acknowledged is on the disk, and is never lost.")


def register(app: OpenAPI, journal: Journal) -> None:
    """Add the route."""

    @app.post(
        "/v1/events",
        tags=[TAG],
        summary="Record what users did: one event, or many",
        responses={202: WriteAnswer},
    )
    @checked
    def events(body: EventsBody) -> Answer:
        content = body.model_dump(exclude_unset=True)
        moves = not has_key() or has_key("ingest")
        atomic, listed = content.pop("atomic", False), content.pop("events", None)
        charge(1 if listed is None else len(listed))
        if listed is None:
            return write(journal, _facts([content]), moves=moves)
        if content:
            field = next(iter(content))
            message = "a request has one event by its fields, or many in `events`, not both"
            raise Problem(400, f"{field}: {message}", [(field, message)])
        return write(journal, _facts(listed), listed_as="events", atomic=atomic, moves=moves)


def _facts(entries: list[object]) -> list[Fact | Refused]:
    """Each entry as a fact, or why it is refused; in order."""
    moment = now()
    feedback = [entry for entry in entries if isinstance(entry, dict) and is_feedback(entry)]
    checked_feedback = iter(feedback_facts(feedback, moment))
    events = [entry for entry in entries if not is_feedback(entry)]
    rows = iter(check_events(events, moment))
    facts: list[Fact | Refused] = []
    for entry in entries:
        if is_feedback(entry):
            facts.append(next(checked_feedback))
        else:
            row = next(rows)
            facts.append(row if isinstance(row, Refused) else fact("events", row))
    return facts
