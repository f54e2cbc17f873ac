"""Editorial rules tried before anybody sees them; nothing is saved."""

import tomllib
from typing import Any

from flask_openapi3 import OpenAPI, Tag

from api.bootstrap import now
from api.errors import Problem
from api.explore_schemas import EffectsAnswer, RulesBody
from api.inputs import checked
from graph.errors import SettingError
from recommender.serving.live import Live
from recommender.serving.rules_check import check_rules, without_effect
from recommender.serving.rules_file import parse_rules

TAG = Tag(name="rules", description="Editorial rules.")
LENGTH = 20  # of the lists that rules are tried on


def register(app: OpenAPI, live: Live) -> None:
    """Add the route."""

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
