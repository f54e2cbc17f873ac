"""What is known about users: writing it, reading it, and what they agree to."""

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
from flask_openapi3 import OpenAPI

from api.bootstrap import note, now
from api.errors import Problem
from api.inputs import checked, from_here_or_with
from api.routes.events import TAG
from api.schemas import UserPath
from api.write_schemas import (
    AliasBody,
    ConsentBody,
    DataAnswer,
    ErasureAnswer,
    ErasurePath,
    KnownUserAnswer,
    UserBody,
    WriteAnswer,
)
from api.writing import Answer, write
from graph.errors import NotFound, ReleaseError, StoreAway
from recommender.inbox.erasing import receipt
from recommender.inbox.facts import ALIAS, CONSENT, PURPOSES, USER_PUT, fact, user_subject
from recommender.inbox.joining import own_name
from recommender.inbox.journal import Journal
from recommender.inbox.known import user_after
from recommender.overlay.erasure import ask
from recommender.overlay.state import pseudonym
from recommender.serving.known import known_user
from recommender.serving.live import Live

DATA_SECONDS = 30.0  # seconds to collect all that is known of a user


def register(app: OpenAPI, journal: Journal, live: Live) -> None:
    """Add the routes."""

    @app.put(
        "/v1/users/<id:user>",
        tags=[TAG],
        summary="Replace what is known about a user; their consent stays as it is",
        responses={202: WriteAnswer},
    )
    @checked
    def put_user(path: UserPath, body: UserBody) -> Answer:
        return write(journal, [fact(USER_PUT, {"id": path.user, "attributes": body.attributes})])

    @app.get(
        "/v1/users/<id:user>",
        tags=[TAG],
        summary="What is known about a user, including all acknowledged writes",
        responses={200: KnownUserAnswer},
    )
    @checked
    def get_user(path: UserPath) -> dict[str, Any]:
        known, heard, user = None, 0, own_name(journal, path.user)
        consent = {purpose: purpose in live.agreed for purpose in PURPOSES}
        with contextlib.suppress(ReleaseError):
            overlay = live.recommender().overlay
            known = known_user(overlay, user)
            heard = overlay.release.heard(journal.identity())
            consent = {purpose: overlay.agrees(user, purpose) for purpose in PURPOSES}
        about = journal.facts_about(user_subject(user))
        facts = [row for row in about if row.sequence > heard or row.kind == CONSENT]
        known = user_after(known, facts, user)
        if known is None:
            raise NotFound(f"user {path.user!r} is not known")
        return known | {
            "consent": consent | known.get("consent", {}),
            "sequence": facts[-1].sequence if facts else None,
        }

    @app.put(
        "/v1/users/<id:user>/consent",
        tags=[TAG],
        summary="Set what a user agrees to",
        responses={202: WriteAnswer},
    )
    @checked
    def put_consent(path: UserPath, body: ConsentBody) -> Answer:
        consents = body.model_dump(exclude_none=True)
        if not consents:
            names = ", ".join(PURPOSES)
            raise Problem(400, f"name at least one of {names}", [("", f"none of {names}")])
        return write(journal, [fact(CONSENT, {"id": path.user, "consent": consents})])

    @app.post(
        "/v1/users/<id:user>/alias",
        tags=[TAG],
        summary="Join an anonymous id to a user: both histories become one",
        description="Call it when a visitor logs in. From then on the anonymous id is another "
        "name of the user, for good.",
        responses={202: WriteAnswer},
    )
    @checked
    def post_alias(path: UserPath, body: AliasBody) -> Answer:
        answer = write(journal, [fact(ALIAS, {"id": path.user, "anonymous": body.anonymous})])
        if answer[0]["taken"]:
            person = pseudonym(live.home, path.user)
            note(live.home, "alias", person=person, fact=answer[0]["sequence"])
        return answer

    @app.get(
        "/v1/users/<id:user>/data",
        tags=[TAG],
        summary="Everything known about a user; only for this machine or a `privacy` key",
        responses={200: DataAnswer},
    )
    @checked
    def get_data(path: UserPath) -> dict[str, Any]:
        from_here_or_with("privacy")
        return _data(live.home.folder, path.user)

    @app.delete(
        "/v1/users/<id:user>",
        tags=[TAG],
        summary="Erase a user everywhere",
        description="From the answer on, nothing about them is served. The answer says how far "
        "the erasure has come.",
        responses={202: ErasureAnswer},
    )
    @checked
    def delete_user(path: UserPath) -> Answer:
        sequence = ask(journal, live.home, path.user, now=now())
        return receipt(journal, sequence).as_dict(), 202

    @app.get(
        "/v1/erasures/<sequence>",
        tags=[TAG],
        summary="How far an erasure has come",
        responses={200: ErasureAnswer},
    )
    @checked
    def get_erasure(path: ErasurePath) -> dict[str, Any]:
        return receipt(journal, path.sequence).as_dict()


def _data(home: Path, user: str) -> dict[str, Any]:
    """What the command `data` prints; run as its own process, as a worker asks no store."""
    command = [sys.executable, "-m", "api.cli.main", "--home", str(home), "data", "--", user]
    try:
        done = subprocess.run(command, capture_output=True, timeout=DATA_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise StoreAway(f"the store did not answer within {DATA_SECONDS:g} s") from error
    if done.returncode:
        raise StoreAway(done.stderr.decode(errors="replace").strip().splitlines()[-1])
    answer: dict[str, Any] = orjson.loads(done.stdout)
    return answer
