"""An image for e-mails, 1 × 1 and transparent: who loads it tells of one signed event.

The address holds the event and a signature, so that nobody who reads the mail can tell of anything
else. `api.access` has checked the signature before this is called.
"""

import base64

from flask import Flask, Response, g, request

from api.access import PIXEL
from api.bootstrap import now
from api.errors import Problem
from api.writing import write
from loaders.entries import Refused, check_events
from recommender.inbox.facts import fact
from recommender.inbox.journal import Journal

GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
HEADERS = {"Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "cross-origin"}
KIND = "open"


def register(app: Flask, journal: Journal) -> None:
    """Add the route; it is not in the OpenAPI document, as no client asks it."""

    def pixel(key_id: str, token: str) -> Response:  # noqa: ARG001 - checked by api.access
        event = {"kind": KIND, **g.pixel}
        if "event_id" not in event:
            problem = "an image is loaded again and again, so its event needs an event_id"
            raise Problem(400, problem, [("event_id", problem)])
        (row,) = check_events([event], now())
        if isinstance(row, Refused):
            raise Problem(400, f"{row.field}: {row.reason}", [(row.field, row.reason)])
        if request.method == "GET":  # a HEAD only asks whether the image is there
            write(journal, [fact("events", row)], listed_as="events", moves=False)
        return Response(GIF, headers=HEADERS, content_type="image/gif")

    app.add_url_rule(PIXEL, view_func=pixel)
