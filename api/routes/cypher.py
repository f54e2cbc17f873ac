"""Cypher queries that read, for people at this machine; off unless a setting turns them on.

A worker still asks no store: the guarded console answers from a process of its own, and from a
copy in which users are pseudonyms (`docs/decisions/0009-cypher-privacy.md`).
"""

import atexit
from dataclasses import asdict
from typing import Any

from flask_openapi3 import OpenAPI, Tag

from api.answer_schemas import RowsAnswer
from api.bootstrap import open_console
from api.errors import Problem
from api.explore_schemas import QuestionsAnswer
from api.inputs import checked, from_here_or_with
from api.schemas import CypherBody, NoQuery
from api.settings import Settings
from graph.errors import QueryRefused
from graph.explore.console import Console
from graph.explore.cypher_words import LABELS, PROPERTIES, TYPES
from graph.explore.questions import questions
from recommender.releases.publishing import current
from recommender.serving.live import Live

TAG = Tag(name="cypher", description="The graph itself, for analysts.")


def register(app: OpenAPI, live: Live, settings: Settings) -> None:
    """Add the routes; a console that is off answers with a 403, else `app.extensions` has it."""
    console = open_console(settings) if settings.console_enabled else None
    if console is not None:
        app.extensions["console"] = console
        atexit.register(console.close)
    seen = current(live.home)  # the release that the copy is at least as new as

    @app.post(
        "/v1/cypher",
        tags=[TAG],
        summary="Rows of a read-only query; users appear as pseudonyms",
        responses={200: RowsAnswer},
    )
    @checked
    def run_cypher(body: CypherBody) -> dict[str, Any]:
        nonlocal seen
        session = _allowed(console)
        release = current(live.home)
        if release != seen:
            session.renew()
            seen = release
        try:
            return asdict(session.run(body.query, body.parameters, privacy=False))
        except QueryRefused as error:
            raise Problem(400, str(error), [("query", str(error))]) from error

    @app.get(
        "/v1/cypher/questions",
        tags=[TAG],
        summary="Ready-made questions, and the names in the graph; 403 if the console is off",
        responses={200: QuestionsAnswer},
    )
    @checked
    def get_cypher_questions(query: NoQuery) -> dict[str, Any]:
        del query
        _allowed(console)
        listed = [
            {
                "name": question.name,
                "title": question.title,
                "sentence": question.sentence,
                "query": question.query,
                "parameters": question.parameters,
            }
            for question in questions().values()
        ]
        words = {"labels": LABELS, "relationships": TYPES, "properties": PROPERTIES}
        return {"questions": listed, "words": words}


def _allowed(console: Console | None) -> Console:
    if console is None:
        raise Problem(403, "the console is off; the setting console_enabled turns it on")
    from_here_or_with("explore")
    return console
