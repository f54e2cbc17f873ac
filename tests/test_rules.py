"""Editorial rules do what they say, within time, segment and context, and never break a promise."""

import shutil
import time
import tomllib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.app import create_app
from api.cli.main import run
from api.settings import load_settings
from graph.errors import InputError, NotFound, SettingError
from recommender.ranking.request import Filter, Request
from recommender.serving.live import CHECK_SECONDS
from recommender.serving.recommend import Recommender
from recommender.serving.rules_check import check_rules, without_effect
from recommender.serving.rules_file import load_rules, parse_rules
from recommender.serving.why import why

NOW = 1_760_000_000
DAY = 86_400


def ruled(recommender, text):
    return Recommender(recommender.release, rules=parse_rules(tomllib.loads(text)))


def answer_to(recommender, **fields):
    fields.setdefault("profile", "neutral")
    return recommender.recommend([Request(**fields)], now=NOW)[0]


def ids(answer):
    return [shown.item for shown in answer.items]


@pytest.fixture
def user(planted):
    return planted.answers.users[0]


def test_a_pin_and_a_sponsor_stand_where_they_are_put_and_say_so(recommender, user):
    plain = ids(answer_to(recommender, user=user, n=60))
    far, further = plain[50], plain[55]
    rules = f"""
        [[rule]]
        name = "pin"
        do = "pin"
        items = ["unknown", "{far}"]
        [[rule]]
        name = "paid"
        do = "sponsor"
        items = ["{further}"]
        place = 4
    """
    answer = answer_to(ruled(recommender, rules), user=user, n=10)
    rest = [item for item in plain if item not in (far, further)]
    assert ids(answer) == [far, *rest[:2], further, *rest[2:8]]
    labels = {shown.item: shown.label for shown in answer.items if shown.label}
    assert labels == {far: "pinned", further: "sponsored"}
    assert answer.items[0].reasons[0].text == "chosen by the editors"
    assert answer.items[3].reasons[0].text == "sponsored"
    assert answer.fallback is None


def test_boost_lifts_and_bury_lowers(recommender, user):
    plain = answer_to(recommender, user=user, n=30)
    last, first = plain.items[9].item, plain.items[0].item
    boosted = ruled(recommender, f'[[rule]]\nname="b"\ndo="boost"\nfactor=50\nitems=["{last}"]')
    assert ids(answer_to(boosted, user=user, n=10))[0] == last
    buried = ruled(recommender, f'[[rule]]\nname="b"\ndo="bury"\nfactor=0.001\nitems=["{first}"]')
    assert first not in ids(answer_to(buried, user=user, n=5))


def test_promote_lifts_what_is_young(recommender, user):
    """With one item made a day ago, promoting the young puts it first."""
    from dataclasses import replace

    plain = ids(answer_to(recommender, user=user, n=20))
    created = np.full(len(recommender.release.items), NOW - 400 * DAY)
    created[recommender.release.items.row(plain[12])] = NOW - DAY
    release = replace(
        recommender.release, arrays=dict(recommender.release.arrays) | {"created_at": created}
    )
    text = '[[rule]]\nname="young"\ndo="promote"\nnewer_than_days=7\nfactor=50'
    rules = parse_rules(tomllib.loads(text))
    assert ids(answer_to(Recommender(release, rules=rules), user=user, n=20))[0] == plain[12]
    assert ids(answer_to(Recommender(release), user=user, n=20)) == plain


def test_a_limit_holds_while_enough_other_items_exist(recommender, user):
    limited = ruled(recommender, '[[rule]]\nname="two"\ndo="limit"\nby="domain"\nmost=2')
    for arguments in (user, None, "nobody"):
        answer = answer_to(limited, user=arguments, n=6)
        strongest = [shown.domains[0] for shown in answer.items if shown.domains]
        assert max(map(strongest.count, strongest)) <= 2
        assert len(answer.items) == 6
    domain = next(iter(recommender.release.domains))
    inside = answer_to(limited, n=10, filter=Filter(domains=(domain,)))
    free = answer_to(recommender, n=10, filter=Filter(domains=(domain,)))
    assert len(inside.items) == len(free.items) > 2
    assert any("not followed in full" in note for note in inside.notes)


@pytest.mark.parametrize(
    ("extra", "request_fields", "holds"),
    [
        ("", {}, True),
        ("from = 2025-10-09T00:00:00Z", {}, True),
        ("from = 2025-10-10", {}, False),
        ("until = 2025-10-09", {}, False),
        ("until = 2025-10-10", {}, True),
        ('segments = ["night owls"]', {}, False),
        ('when = { device = ["phone", "watch"] }', {"context": {"device": "phone"}}, True),
        ('when = { device = ["phone"] }', {"context": {"device": "desk"}}, False),
        ('when = { device = ["phone"] }', {}, False),
        ("enabled = false", {}, False),
        ("", {"rules": False}, False),
    ],
)
def test_a_rule_holds_in_its_time_for_whom_it_names(
    recommender, user, extra, request_fields, holds
):
    """NOW is 2025-10-09 08:53 UTC."""
    item = ids(answer_to(recommender, user=user, n=60))[50]
    text = f'[[rule]]\nname="pin"\ndo="pin"\nitems=["{item}"]\n{extra}'
    assert (
        item in ids(answer_to(ruled(recommender, text), user=user, n=5, **request_fields))
    ) is holds


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_rules_never_show_what_is_not_allowed_nor_shorten(recommender, planted, data):
    items = list(recommender.release.items)
    pick = st.lists(st.sampled_from(items), min_size=1, max_size=4)
    rules = []
    for number, do in enumerate(
        data.draw(
            st.lists(st.sampled_from(["pin", "sponsor", "boost", "bury", "limit"]), max_size=5)
        )
    ):
        rule = {"name": str(number), "do": do}
        if do == "limit":
            rule |= {"by": "domain", "most": data.draw(st.integers(1, 3))}
        else:
            rule["items"] = data.draw(pick)
        if do in ("pin", "sponsor"):
            rule["place"] = data.draw(st.integers(1, 12))
        rules.append(rule)
    domain = data.draw(st.sampled_from(list(recommender.release.domains)))
    wanted = data.draw(st.sampled_from([Filter(), Filter(domains=(domain,))]))
    user = data.draw(st.sampled_from([*planted.answers.users[:5], "nobody"]))
    n = data.draw(st.integers(1, 30))
    exclude = tuple(data.draw(pick))
    recommender = Recommender(recommender.release, rules=parse_rules({"rule": rules}))
    answer = answer_to(recommender, user=user, n=n, filter=wanted, exclude=exclude, reasons=False)
    release = recommender.release
    allowed = set(release.items.ids(np.flatnonzero(recommender.filters.mask(wanted)))) - set(
        exclude
    )
    if user in release.users:
        seen = release.blocked.matrix[[release.users.row(user)]].indices
        allowed -= set(release.items.ids(seen))
    shown = ids(answer)
    assert set(shown) <= allowed
    assert len(shown) == len(set(shown)) == min(n, len(allowed))


BAD = [
    ("x = 1", "'x' is not known"),
    ('[rule]\nname="a"', "two brackets"),
    ('[[rule]]\ndo="pin"', "rule 1: needs a name"),
    ("rule = [1]", "rule 1 is 1; it must be a table"),
    ('[[rule]]\nname="a"\ndo="lift"', "rule 1 .a.: do is 'lift'; it must be one of pin"),
    ('[[rule]]\nname="a"\ndo="pin"', "pin needs items"),
    ('[[rule]]\nname="a"\ndo="boost"', "needs where or items"),
    ('[[rule]]\nname="a"\ndo="boost"\nitms=["a"]\nitems=["b"]', "did you mean 'items'"),
    ('[[rule]]\nname="a"\ndo="boost"\nitems=["a"]\nfactor=0', "factor 0"),
    ('[[rule]]\nname="a"\ndo="boost"\nitems=["a"]\nfactor=0.5', "must be above 1"),
    ('[[rule]]\nname="a"\ndo="bury"\nitems=["a"]\nfactor=2', "below 1 to bury"),
    (
        '[[rule]]\nname="a"\ndo="boost"\nwhere={domain=["x"]}',
        "where.domain: 'domain' is not a condition",
    ),
    ('[[rule]]\nname="a"\ndo="limit"\nby="domain"\nmost=0', "most is 0"),
    ('[[rule]]\nname="a"\ndo="pin"\nitems=["x"]\nfrom="2026-01-01"', "without quotes"),
    ('[[rule]]\nname="a"\ndo="pin"\nitems=["x"]\nfrom=2026-01-02\nuntil=2026-01-01', "not before"),
    (
        '[[rule]]\nname="a"\ndo="pin"\nitems=["x"]\nwhen={device="phone"}',
        "device is 'phone'; it must be a list",
    ),
    (
        '[[rule]]\nname="a"\ndo="pin"\nitems=["x"]\nenabled=1',
        "enabled is 1; it must be true",
    ),
    ('[[rule]]\nname="a"\ndo="promote"\nnewer_than_days=-1', "newer_than_days"),
    (
        '[[rule]]\nname="a"\ndo="pin"\nitems=["x"]\n[[rule]]\nname="a"\ndo="pin"\nitems=["x"]',
        "two rules",
    ),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_a_wrong_rule_is_named_with_the_remedy(text, message):
    with pytest.raises(SettingError, match=message):
        parse_rules(tomllib.loads(text))


def test_a_limit_by_an_attribute_nobody_has_is_refused(recommender):
    with pytest.raises(InputError, match="limits by 'author'"):
        ruled(recommender, '[[rule]]\nname="a"\ndo="limit"\nby="author"\nmost=1')


def test_a_missing_file_holds_no_rules_and_a_broken_one_is_an_error(tmp_path):
    assert load_rules(tmp_path / "rules.toml") == ()
    (tmp_path / "rules.toml").write_text("[[rule")
    with pytest.raises(SettingError, match="not valid TOML"):
        load_rules(tmp_path / "rules.toml")


def test_the_dry_run_tells_what_changes_and_costs(recommender):
    item = recommender.release.items.id(int(recommender.release.popularity.argmin()))
    text = f"""
        [[rule]]
        name = "odd"
        do = "pin"
        items = ["{item}"]
        [[rule]]
        name = "never"
        do = "pin"
        items = ["{item}"]
        until = 2000-01-01
    """
    rules = parse_rules(tomllib.loads(text))
    kept = recommender.rulebook
    rows = check_rules(recommender, rules, users=30, n=10, now=NOW)
    assert recommender.rulebook is kept
    odd, never, together = rows
    assert odd["changed"] > 0.9
    assert 0 < odd["cost"] < 1
    assert (never["changed"], never["new"], never["cost"]) == (0, 0, 0)
    assert {**together, "rule": "", "do": ""} == {**odd, "rule": "", "do": ""}


def test_the_dry_run_names_what_the_release_does_not_have(recommender):
    text = """
        [[rule]]
        name = "odd"
        do = "boost"
        factor = 2
        where = { domains = ["nowhere"] }
        segments = ["nobody"]
        [[rule]]
        name = "missing"
        do = "pin"
        items = ["nothing"]
        [[rule]]
        name = "right"
        do = "boost"
        factor = 2
        where = { not = { newer_than_days = 1 } }
        segments = ["new"]
    """
    parsed = without_effect(recommender, parse_rules(tomllib.loads(text)), now=NOW)
    assert parsed == [
        "rule 'odd': there is no segment 'nobody'",
        "rule 'odd': where allows no item",
        "rule 'missing': there is no item 'nothing'",
    ]


def test_a_file_that_is_asked_for_must_be_there(used_home, tmp_path, capsys):
    home = ["--home", str(used_home.folder), "rules", "check", "--users", "2"]
    assert run([*home, "--file", str(tmp_path / "none.toml")]) == 1
    assert "there is no file" in capsys.readouterr().err
    assert run([*home, "--context", "phone"]) == 1
    assert "--context phone: write it as name=value" in capsys.readouterr().err


def test_a_server_follows_the_file_and_keeps_the_old_rules_when_it_is_wrong(planted_home, planted):
    from recommender.serving.live import Live

    user, ticks = planted.answers.users[0], iter(range(100))
    live, heard = Live(planted_home, clock=lambda: next(ticks)), []
    live.tell = lambda event, **fields: heard.append(event)
    item = ids(answer_to(live.recommender(), user=user, n=60))[50]
    file = planted_home.rules
    try:
        file.write_text(f'[[rule]]\nname="p"\ndo="pin"\nitems=["{item}"]')
        assert ids(answer_to(live.recommender(), user=user, n=5))[0] == item
        file.write_text("[[rule]]")
        assert ids(answer_to(live.recommender(), user=user, n=5))[0] == item
        assert "needs a name" in live.rules_problem
        assert heard == ["rules.toml read", "rules.toml refused"]
    finally:
        file.unlink()
    assert ids(answer_to(live.recommender(), user=user, n=5))[0] != item
    assert live.rules_problem is None


def test_what_an_editor_said_holds_over_a_new_release_while_the_files_are_wrong(
    planted_home, planted, tmp_path
):
    home = replace(planted_home, folder=tmp_path / "home").create()
    shutil.rmtree(home.releases)
    shutil.copytree(planted_home.releases, home.releases)
    item = planted.answers.items[0]
    home.rules.write_text(f'[[rule]]\nname="p"\ndo="pin"\nitems=["{item}"]')
    home.segments.write_text("[profiles.loud]\nlong_tail = 1.0\n")
    client = create_app(load_settings(home.folder)).test_client()
    before = client.get("/v1/popular?n=1").json
    assert before["items"][0]["item"] == item
    assert client.get("/ready").json["notes"] == []
    home.rules.write_text("[[rule]]")
    home.segments.write_text("nonsense = 1")
    old = (home.releases / "CURRENT").read_text().strip()
    shutil.copytree(home.releases / old, home.releases / "000009-next")
    (home.releases / "CURRENT").write_text("000009-next\n")
    time.sleep(CHECK_SECONDS + 0.1)
    after = client.get("/v1/users/nobody/recommendations?n=1&profile=loud").json
    assert after["release"] == "000009-next"
    assert after["items"][0]["item"] == item
    notes = " ".join(client.get("/ready").json["notes"])
    assert "needs a name" in notes
    assert "nonsense" in notes


def test_what_a_rule_hides_is_on_no_list(recommender, planted, user):
    """Neither by history, by popularity, near an item, by a tag, in a household, nor asked why."""
    gone = ids(answer_to(recommender, user=user, n=3))
    tag = recommender.release.tags.id(0).split("\x1f")[1]
    popular = ids(recommender.popular(3, now=NOW))
    tagged = ids(recommender.tag_items(tag, 3, now=NOW))
    near = ids(recommender.similar(planted.answers.items[0], 3, now=NOW))
    every = sorted({*gone, *popular, *tagged, *near})
    listed = ", ".join(f'"{item}"' for item in every)
    hiding = ruled(recommender, f'[[rule]]\nname="out"\ndo="hide"\nitems=[{listed}]')
    others = planted.answers.users[1:3]
    lists = [
        answer_to(hiding, user=user, n=200),
        answer_to(hiding, user=user, n=200, include_seen=True),
        answer_to(hiding, n=200),
        answer_to(hiding, household=(user, *others), n=200),
        hiding.popular(200, now=NOW),
        hiding.tag_items(tag, 200, now=NOW),
        hiding.similar(planted.answers.items[0], 200, now=NOW),
        hiding.latest(200, now=NOW),
    ]
    for answer in lists:
        assert not set(ids(answer)) & set(every)
    assert len(lists[0].items) > 100  # of all that are left
    with pytest.raises(NotFound):
        why(hiding, user, every[0], now=NOW)


def test_a_hide_holds_in_its_time_and_over_a_pin(recommender, user):
    item = ids(answer_to(recommender, user=user, n=1))[0]
    rule = f'[[rule]]\nname="out"\ndo="hide"\nitems=["{item}"]\n'
    pin = f'[[rule]]\nname="pin"\ndo="pin"\nitems=["{item}"]\n'
    assert item not in ids(answer_to(ruled(recommender, rule + pin), user=user, n=20))
    assert item in ids(answer_to(ruled(recommender, rule + "until = 2025-10-09"), user=user, n=20))
    where = '[[rule]]\nname="out"\ndo="hide"\nwhere = { items = ["' + item + '"] }'
    assert item not in ids(answer_to(ruled(recommender, where), user=user, n=20))


def test_rules_together_never_make_scores_that_are_no_numbers(recommender, user):
    """Two hundred factors of 100 are 1e400, two hundred of 1e-300 are 0."""
    for do, factor in (("boost", "100"), ("bury", "1e-300")):
        text = "\n".join(
            f'[[rule]]\nname="{k}"\ndo="{do}"\nfactor={factor}\nwhere={{}}' for k in range(200)
        )
        answer = answer_to(ruled(recommender, text), user=user, n=20, profile="default")
        assert len(answer.items) == 20
        assert all(np.isfinite(shown.score) and shown.score > 0 for shown in answer.items)
    with pytest.raises(SettingError, match="factor"):
        parse_rules(tomllib.loads('[[rule]]\nname="a"\ndo="boost"\nfactor=1e308\nwhere={}'))


def test_too_many_rules_are_refused():
    many = {"rule": [{"name": f"r{k}", "do": "hide", "items": ["x"]} for k in range(20_000)]}
    with pytest.raises(SettingError, match="20,000 rules; there can be at most 200"):
        parse_rules(many)


def test_factors_are_worked_out_once_for_many_requests(recommender, user, monkeypatch):
    hundred = ruled(
        recommender,
        "\n".join(
            f'[[rule]]\nname="{k}"\ndo="bury"\nwhere={{tags_any=["t{k}"]}}' for k in range(100)
        ),
    )
    arguments = []
    flags = hundred.filters.flags
    monkeypatch.setattr(
        hundred.filters, "flags", lambda wanted: arguments.append(wanted) or flags(wanted)
    )
    for _ in range(5):
        answer_to(hundred, user=user, n=5)
    assert len(arguments) == 100
