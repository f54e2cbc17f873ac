"""Whatever is asked, in any combination: nothing disallowed, nothing twice, never short."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recommender.ranking.request import Filter, Part, Request
from recommender.segments.settings import parse_segment_settings
from recommender.serving.recommend import Recommender
from recommender.serving.rules_file import parse_rules

NOW = 1_760_000_000
RULES = {
    "rule": [
        {"name": "two", "do": "limit", "by": "domain", "most": 2},
        {"name": "up", "do": "boost", "where": {"newer_than_days": 1e6}, "factor": 3.0},
        {"name": "phone", "do": "bury", "where": {}, "when": {"device": ["phone"]}},
    ]
}
SEGMENTS = {
    "segment": [{"name": "many", "rule": "items > 8"}],
    "profiles": {
        "many": {"balance": 0.5, "exploration": 0.3, "long_tail": 0.4},
        "volume": {"diversity": 1.0, "method": "dpp", "balance": 0.1},
        "chance": {"exploration": 1.0},
    },
    "context": [
        {"name": "c", "when": {"device": ["phone"]}, "profile": {"long_tail": 3.0}},
        {"name": "s", "when": {"first_visit": ["yes"]}, "session_share": 0.9},
    ],
}


@st.composite
def requests(draw, planted):
    """A subject of any kind and anything that may be asked for it."""
    users = st.sampled_from([*planted.answers.users[:40], "nobody"])
    items = st.sampled_from([*planted.answers.items[:60], "nothing"])
    kind = draw(st.sampled_from(["user", "session", "both", "mix", "household", "alike", "none"]))
    subject = {}
    if kind in ("user", "both"):
        subject["user"] = draw(users)
    if kind in ("session", "both"):
        subject["items"] = dict.fromkeys(draw(st.lists(items, min_size=1, max_size=4)), 1.0)
    if kind == "mix":
        parts = st.one_of(
            users.map(lambda u: Part("user", u)), items.map(lambda i: Part("item", i))
        )
        subject["mix"] = tuple(draw(st.lists(parts, min_size=1, max_size=3)))
    if kind == "household":
        subject["household"] = tuple(draw(st.lists(users, min_size=1, max_size=4)))
    if kind == "alike":
        subject["similar_to"] = draw(users)
    return Request(
        **subject,
        n=draw(st.integers(1, 40)),
        filter=Filter(
            items=tuple(draw(st.lists(items, max_size=30))),
            none_of=draw(st.sampled_from([(), (Filter(items=(planted.answers.items[0],)),)])),
        ),
        exclude=tuple(draw(st.lists(items, max_size=5))),
        include_seen=draw(st.booleans()),
        profile=draw(st.sampled_from([None, "neutral", "default", "many", "volume", "chance"])),
        long_tail=draw(st.none() | st.floats(0, 1)),
        context=draw(st.sampled_from([None, {}, {"device": "phone"}])),
        shown=draw(st.dictionaries(items, st.integers(0, 3), max_size=3)),
        seed=draw(st.none() | st.integers(-5, 5)),
    )


@settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=60)
@given(data=st.data())
def test_any_request_keeps_every_promise(recommender, planted, data):
    release = recommender.release
    settings = parse_segment_settings(SEGMENTS)
    served_release = Recommender(release, settings=settings, rules=parse_rules(RULES))
    request = data.draw(requests(planted))
    answer = served_release.recommend([request], now=NOW)[0]
    rows = release.items.rows([item.item for item in answer.items])
    assert len(set(rows.tolist())) == len(rows)
    mask = served_release.filters.mask(request.filter.at(NOW)).copy()
    seen = "hides" if request.include_seen else "blocked"
    people = {
        request.user,
        request.similar_to,
        *request.household,
        *(p.name for p in request.mix if p.kind == "user"),
    }
    for user in people & set(release.users):
        mask[getattr(release, seen).matrix[[release.users.row(user)]].indices] = False
    named = [*request.items, *(p.name for p in request.mix if p.kind == "item"), *request.exclude]
    mask[[row for row in release.items.rows(named).tolist() if row >= 0]] = False
    assert mask[rows].all()
    assert len(rows) == min(request.n, int(mask.sum()))
    assert served_release.recommend([request], now=NOW)[0] == answer
    strangers = set(release.users)
    for item in answer.items:
        shares = [reason.share for reason in item.reasons]
        assert len(shares) <= 3
        assert shares == sorted(shares, reverse=True)
        assert np.isclose(sum(item.parts.values()), item.score, rtol=1e-3, atol=1e-4)
        for reason in item.reasons:
            assert item.item not in reason.text
            assert not strangers & {reason.text, *(str(part.get("id")) for part in reason.path)}
