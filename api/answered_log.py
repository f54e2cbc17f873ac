"""A log line for a share of the requests: what was asked, what was answered, from which release.

No line holds a path, a key or an id of a person: the route stands there as the OpenAPI document
writes it, and of the key the eight letters that `keys list` shows. `request_id` is that of the list
(see `recommender/serving/answered.py`): it says which items were shown, and nothing about whom.
"""

import random
import time
from typing import Any

from flask import Flask, Response, g, request

from api.metrics import BEGAN, METHODS, template
from api.observability import log
from graph.errors import NichegraphError
from recommender.serving.answered import id_of, release_of
from recommender.serving.live import Live


def register(app: Flask, live: Live, share: float) -> None:
    """Write a line for this share of the requests, 0 to 1; to be registered before `metrics`."""
    if share <= 0:
        return
    chance = random.SystemRandom()

    @app.after_request
    def _tell(response: Response) -> Response:
        if chance.random() < share:
            log("answered", **about(response, live))
        return response


def about(response: Response, live: Live) -> dict[str, Any]:
    """What may be told about a request and its answer."""
    key = g.get("key")
    fields = {
        "method": request.method if request.method in METHODS else "other",
        "route": "none" if request.url_rule is None else template(request.url_rule.rule),
        "status": response.status_code,
        "ms": round((time.perf_counter() - request.environ[BEGAN]) * 1e3, 3),
        "key": None if key is None else key.id,
        **_answered(live),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _answered(live: Live) -> dict[str, Any]:
    """The release that answered, and the ids of the lists; of many lists, how many there are."""
    made = g.get("answers", ())
    if made:
        first = id_of(made[0])
        lists = {"request_id": first} if len(made) == 1 else {"lists": len(made), "first": first}
        return {"release": release_of(first), **lists}
    try:
        return {"release": live.recommender().release.name}
    except NichegraphError:
        return {}
