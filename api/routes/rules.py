"""Editorial rules: read, tried on users before anybody sees them, and saved."""

import tomllib
from typing import Any

from flask_openapi3 import OpenAPI, Tag

from api.bootstrap import note, now
from api.document import described
from api.errors import Problem
from api.explore_schemas import EffectsAnswer, RulesBody
from api.inputs import checked, from_here_or_with
from api.operate_schemas import RulesAnswer, SaveRulesBody
from api.routes.releases import written
from api.schemas import NoQuery
from graph.errors import SettingError
from recommender.serving.live import Live
from recommender.serving.rules_check import check_rules, without_effect
from recommender.serving.rules_file import load_rules, parse_rules, read_text, save_text, version_of

TAG = Tag(name="rules", description="Editorial rules.")
LENGTH = 20  # of the lists that rules are tried on


def register(app: OpenAPI, live: Live) -> None:
    """Add the routes."""

    @app.post(
        "/v1/rules/check",
        tags=[TAG],
        summary="What rules would change and cost, on a sample of users; nothing is saved",
        responses={200: EffectsAnswer},
    )
    @checked
    def check(body: RulesBody) -> dict[str, Any]:
        recommender = live.recommender()
        try:
            rules = parse_rules(tomllib.loads(body.rules))
            rows = check_rules(recommender, rules, users=body.users, n=LENGTH, now=now())
        except (SettingError, tomllib.TOMLDecodeError) as error:
            raise Problem(400, f"rules: {error}", [("rules", str(error))]) from error
        notes = without_effect(recommender, rules, now=now())
        return {"rows": rows, "notes": notes, "release": recommender.release.name}

    @app.get(
        "/v1/rules",
        tags=[TAG],
        summary="The rules, and what is wrong if they are not followed",
        responses={200: RulesAnswer},
    )
    @checked
    def get_rules(query: NoQuery) -> dict[str, Any]:
        del query
        return _answer(live)

    @app.put(
        "/v1/rules",
        tags=[TAG],
        summary="Save rules; every worker follows them within a second",
        responses={200: RulesAnswer, 409: described(409)},
    )
    @checked
    def put_rules(body: SaveRulesBody) -> dict[str, Any]:
        from_here_or_with("admin")
        try:
            parse_rules(tomllib.loads(body.rules))
        except (SettingError, tomllib.TOMLDecodeError) as error:
            raise Problem(400, f"rules: {error}", [("rules", str(error))]) from error
        with written(live.home):
            if not save_text(live.home.rules, body.rules, over=body.version):
                raise Problem(
                    409,
                    "somebody else has changed the rules in the meantime; read them again, and "
                    "make your changes there",
                    [("version", "not that of the rules as they are now")],
                )
            note(live.home, "rules", version=version_of(body.rules))
        return _answer(live)


def _answer(live: Live) -> dict[str, Any]:
    text, problem = read_text(live.home.rules), None
    try:
        load_rules(live.home.rules)
    except SettingError as error:
        problem = str(error)
    return {"rules": text, "version": version_of(text), "problem": problem}
