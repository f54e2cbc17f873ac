"""The filter language says what it means; lists obey it on every path and are never short."""

import json
from datetime import date

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graph.dates import last_second_of, seconds_of
from graph.errors import InputError
from graph.model import table
from graph.stores.embedded_store import EmbeddedStore
from loaders.format import Options
from loaders.ingest import load
from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.overlay.appended import LiveItem, appended
from recommender.ranking.conditions import bounds, within
from recommender.ranking.filter_language import parse_conditions, parse_filter
from recommender.ranking.filters import Filters, passes
from recommender.ranking.request import Filter, Part, Request
from recommender.releases.home import Home
from recommender.serving.recommend import Recommender

NOW = 1_760_000_000
DAY = 86_400
ITEMS = 20_000  # so that two items are 0.01 %


def catalogue_row(number):
    """What is known of the item `i<number>`: the oracle that filters are held against."""
    return {
        "id": f"i{number:05d}",
        "domain": f"d{number % 7}",
        "tags": {f"t{number % 5}", f"u{number % 3}"},
        "year": 1900 + number % 125 if number % 11 else None,
        "language": ("de", "fr", "en")[number % 3],
        "released": f"{2000 + number % 20}-{1 + number % 12:02}-05" if number % 9 else None,
        "created_at": NOW - number * DAY if number % 13 else None,
        "hidden": number % 17 == 0,
        "signed": number % 3 == 0,
    }


CATALOGUE = [catalogue_row(number) for number in range(ITEMS)]


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> Recommender:
    """20,000 items of which 40 users chose a few hundred; the rest are known by their facts."""
    home = Home(tmp_path_factory.mktemp("wide")).create()
    store = EmbeddedStore(home.store)
    items = [
        {
            "id": item["id"],
            "title": f"Item {item['id']}",
            "created_at": item["created_at"],
            "hidden": item["hidden"],
            "attributes": json.dumps(
                {"language": item["language"], "signed": item["signed"]}
                | {key: item[key] for key in ("year", "released") if item[key]}
            ),
        }
        for item in CATALOGUE
    ]
    tags = [
        {"item": item["id"], "category": "tag", "tag": tag, "weight": 1.0}
        for item in CATALOGUE
        for tag in sorted(item["tags"])
    ]
    domains = [{"item": o["id"], "domain": o["domain"], "weight": 1.0} for o in CATALOGUE]
    rng = np.random.default_rng(0)
    events = [
        {"user": f"user{user}", "item": f"i{item:05d}", "kind": "save"}
        for user in range(40)
        for item in rng.choice(600, 20, replace=False)
    ]
    store.apply({"items": table("items", items)})
    store.apply({"item_tags": table("item_tags", tags)})
    store.apply({"item_domains": table("item_domains", domains)})
    store.apply({"events": table("events", events)})
    release = refresh(store, home, RefreshConfig(preset="fast", threads=1), now=NOW)
    store.close()
    return Recommender(release)


def holds(conditions, item):
    """The filter language, read a second time by the simplest means."""
    for key, value in conditions.items():
        created, year = item["created_at"], item["year"]
        good = {
            "domains": lambda v: item["domain"] in v,
            "tags_all": lambda v: set(v) <= item["tags"],
            "tags_any": lambda v: bool(set(v) & item["tags"]),
            "tags_none": lambda v: not set(v) & item["tags"],
            "items": lambda v: item["id"] in v,
            "created_after": lambda v: created is not None and created >= v,
            "created_before": lambda v: created is not None and created <= v,
            "newer_than_days": lambda v: (
                created is not None and created >= NOW - NOW % 60 - v * DAY
            ),
            "older_than_days": lambda v: (
                created is not None and created <= NOW - NOW % 60 - v * DAY
            ),
            "attributes": lambda v: all(
                (name != "language" or item["language"] in rule["in"])
                and (
                    name != "year"
                    or (year is not None and rule.get("from", 0) <= year <= rule.get("to", 9999))
                )
                and (
                    name != "released"
                    or (
                        bool(item["released"])
                        # Texts of dates, compared as texts; "~" comes behind every digit.
                        and rule.get("from", "") <= item["released"] <= rule.get("to", "") + "~"
                    )
                )
                for name, rule in v.items()
            ),
            "and": lambda v: all(holds(part, item) for part in v),
            "or": lambda v: any(holds(part, item) for part in v),
            "not": lambda v: not any(holds(p, item) for p in (v if isinstance(v, list) else [v])),
        }[key](value)
        if not good:
            return False
    return True


def names(prefix, count):
    return st.lists(st.sampled_from([f"{prefix}{n}" for n in range(count)]), min_size=1, max_size=3)


CONDITIONS = {
    "domains": names("d", 8),
    "tags_all": names("t", 6) | names("u", 3),
    "tags_any": names("t", 5),
    "tags_none": names("u", 3),
    "items": names("i0000", 10),
    "newer_than_days": st.integers(0, 300),
    "older_than_days": st.integers(0, 19_000),
    "created_after": st.integers(NOW - 20_000 * DAY, NOW),
    "attributes": st.fixed_dictionaries(
        {},
        optional={
            "year": st.integers(1900, 2024).map(lambda low: {"from": low, "to": low + 30}),
            "language": st.just({"in": ["de", "fr"]}),
            "released": st.sampled_from(
                [
                    {"from": "2004-01-05"},
                    {"from": "2004-02", "to": "2010-07"},
                    {"from": "2012", "to": "2014"},
                    {"from": "2003-03-06", "to": "2003-04-05"},
                ]
            ),
        },
    ).filter(bool),
}
LEAVES = st.fixed_dictionaries({}, optional=CONDITIONS)
FILTERS = st.recursive(
    LEAVES,
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "and": st.lists(inner, min_size=1, max_size=2),
            "or": st.lists(inner, min_size=1, max_size=3),
            "not": inner | st.lists(inner, min_size=1, max_size=2),
            "domains": CONDITIONS["domains"],
        },
    ),
    max_leaves=5,
)
PROPERTY = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@PROPERTY
@given(conditions=FILTERS)
def test_a_filter_allows_what_its_words_say(wide, conditions):
    mask = wide.filters.mask(parse_filter(conditions).at(NOW))
    expected = {item["id"] for item in CATALOGUE if not item["hidden"] and holds(conditions, item)}
    assert {CATALOGUE[row]["id"] for row in np.flatnonzero(mask)} == expected


SUBJECTS = st.one_of(
    st.builds(dict, user=st.sampled_from([f"user{n}" for n in range(40)])),
    st.builds(dict, user=st.just("nobody")),
    st.builds(dict, tags=st.tuples(st.sampled_from(["t1", "t2", "unknown"]))),
    st.builds(lambda names: {"items": dict.fromkeys(names, 1.0)}, names("i0000", 10)),
    st.just({"mix": (Part("user", "user1", 0.5), Part("tag", "t3", 2.0), Part("item", "i00007"))}),
    st.just({"household": ("user1", "user2", "nobody")}),
)


@PROPERTY
@given(
    content=FILTERS, who=SUBJECTS, n=st.integers(1, 40), profile=st.sampled_from(["neutral", None])
)
def test_no_list_is_short_and_nothing_disallowed_is_shown(wide, content, who, n, profile):
    request = Request(**who, n=n, filter=parse_filter(content), profile=profile, reasons=False)
    answer = wide.recommend([request], now=NOW)[0]
    allowed = {
        item["id"] for item in CATALOGUE if not item["hidden"] and holds(content, item)
    } - never_shown(wide, request)
    shown = [entry.item for entry in answer.items]
    assert set(shown) <= allowed
    assert len(shown) == len(set(shown)) == min(n, len(allowed))


def never_shown(recommender, request):
    users = [request.user, *request.household, *(p.name for p in request.mix if p.kind == "user")]
    rows = [row for row in recommender.release.users.rows(u or "" for u in users) if row >= 0]
    seen = recommender.release.blocked.matrix[rows].indices
    items = {part.name for part in request.mix if part.kind == "item"} | set(request.items)
    return set(recommender.release.items.ids(seen)) | items


@pytest.mark.parametrize("seed", range(10))
def test_one_in_ten_thousand_is_found(wide, seed):
    """0.01 % of 20,000 items, drawn anywhere: both come, on every path that takes a filter."""
    open_items = [
        item["id"] for item in CATALOGUE[600:] if not item["hidden"] and item["created_at"]
    ]
    two = set(np.random.default_rng(seed).choice(open_items, 2, replace=False).tolist())
    wanted = parse_filter({"items": sorted(two)})
    tag = min(next(item for item in CATALOGUE if item["id"] == min(two))["tags"])
    carriers = {item["id"] for item in CATALOGUE if tag in item["tags"]}
    answers = wide.recommend(
        [Request(user=f"user{seed}", n=20, filter=wanted), Request(tags=("t1",), filter=wanted)],
        now=NOW,
    )
    lists = [
        *answers,
        wide.similar("i00007", 20, wanted, now=NOW),
        wide.popular(20, wanted, now=NOW),
        wide.latest(20, wanted, now=NOW),
    ]
    for answer in lists:
        assert {entry.item for entry in answer.items} == two
    tagged = wide.tag_items(tag, 20, wanted, now=NOW)
    assert {entry.item for entry in tagged.items} == two & carriers


def test_seen_and_exclude_stand_beside_the_filter(wide):
    seen = never_shown(wide, Request(user="user3"))
    only = wide.recommend([Request(user="user3", only_seen=True, n=200)], now=NOW)[0]
    hidden = {item["id"] for item in CATALOGUE if item["hidden"]}
    assert {entry.item for entry in only.items} == seen - hidden
    parsed = parse_conditions({"exclude": ["i00001"], "seen": "only", "domains": ["d1"]})
    assert (parsed.exclude, parsed.seen, parsed.filter) == (
        ("i00001",),
        "only",
        Filter(domains=("d1",)),
    )
    with pytest.raises(InputError, match="name the user"):
        wide.recommend([Request(only_seen=True)], now=NOW)


@pytest.mark.parametrize(
    ("message", "location"),
    [
        ([], "filter: must be an object"),
        ({"domain": ["a"]}, "filter.domain: 'domain' is not a condition; did you mean 'domains'"),
        ({"domains": []}, "filter.domains: name 1 to"),
        ({"domains": "a"}, "filter.domains: must be a list"),
        ({"or": [{}, {"tags_any": [3]}]}, "filter.or.1.tags_any: must be a list of texts"),
        ({"and": []}, "filter.and: must be a list of filters"),
        ({"not": {"newer_than_days": -1}}, "filter.not.newer_than_days: "),
        ({"not": {"newer_than_days": float("nan")}}, "filter.not.newer_than_days: "),
        ({"attributes": {"year": {"from": 5, "to": 4}}}, "filter.attributes.year: from 5 is above"),
        ({"attributes": {"year": 1990}}, "filter.attributes.year: must be an object"),
        ({"attributes": {"year": {"is": 1}}}, "filter.attributes.year: say from, to or in"),
        ({"attributes": {"year": {"in": [[]]}}}, "filter.attributes.year.in: values are"),
        ({"attributes": {"d": {"from": "soon"}}}, "filter.attributes.d.from: 'soon' is not a date"),
        (
            {"attributes": {"d": {"below": "2024"}}},
            "filter.attributes.d.below: must be a number; give dates by from and to",
        ),
        (
            {"attributes": {"d": {"to": True}}},
            "filter.attributes.d.to: must be a number, or a date",
        ),
        (
            {"attributes": {"d": {"from": "2024-02", "to": "2024-01"}}},
            "filter.attributes.d: from 2",
        ),
        ({"attributes": {"d": {"from": 5, "to": "2024"}}}, "filter.attributes.d: from and to must"),
        ({"created_after": 1.5}, "filter.created_after: must be a whole number"),
        ({"created_after": True}, "filter.created_after: must be a whole number"),
        ({"or": [{"seen": "only"}]}, "filter.or.0.seen: 'seen' cannot be used inside"),
        ({"seen": True}, "filter.seen: True is not one of"),
        ({"exclude": [""]}, "filter.exclude: must be a list of texts"),
    ],
)
def test_an_error_names_the_place(message, location):
    with pytest.raises(InputError) as error:
        parse_conditions(message)
    assert str(error.value).startswith(location)


def test_nesting_and_size_are_bounded():
    deep = {}
    for _ in range(20):
        deep = {"not": deep}
    with pytest.raises(InputError, match="nests at most"):
        parse_filter(deep)
    with pytest.raises(InputError, match="at most 200 conditions"):
        parse_filter({"or": [{} for _ in range(200)]})


def test_unknown_attributes_are_named(wide):
    for content in (
        {"colour": {"in": ["red"]}},
        {"language": {"from": 3}},
        {"language": {"from": "2024-01-01"}},
        {"year": {"in": ["x"]}},
        {"year": {"from": "2024-01-01"}},
        {"released": {"from": 1_704_067_200}},
    ):
        with pytest.raises(InputError, match="attribute"):
            wide.filters.mask(parse_filter({"attributes": content}))


@pytest.mark.parametrize("flag", [True, False])
def test_flags_are_asked_for_as_flags_or_as_json_writes_them(wide, flag):
    shown = [item for item in CATALOGUE if not item["hidden"]]
    rows = wide.release.items.rows([item["id"] for item in shown])
    for value in (flag, json.dumps(flag)):
        mask = wide.filters.mask(parse_filter({"attributes": {"signed": {"in": [value]}}}))
        assert mask[rows].tolist() == [item["signed"] == flag for item in shown]


def test_masks_of_ages_are_shared_within_a_minute(wide):
    filters = Filters(wide.release)
    wanted = parse_filter({"or": [{"newer_than_days": 3}]})
    minute = NOW - NOW % 60
    assert filters.mask(wanted.at(minute)) is filters.mask(wanted.at(minute + 59))


@pytest.mark.parametrize(
    ("wanted", "cost"),
    [
        (Filter(), 0),
        (Filter(domains=("a", "b"), tags_all=("c",), tags_any=("d",), tags_none=("e",)), 5),
        (Filter(items=("x", "y", "z")), 3),
        (Filter(attributes=(("year", 1.0, 2.0, ()), ("language", None, None, ("en", "fr")))), 4),
        (Filter(all_of=(Filter(), Filter(domains=("a",))), none_of=(Filter(items=("x",)),)), 5),
        (Filter(any_of=(Filter(all_of=(Filter(domains=("a", "b")),)),)), 4),
    ],
)
def test_a_filter_costs_a_pass_for_each_name_range_and_part(wanted, cost):
    assert passes(wanted) == cost


def test_a_tag_that_nobody_knows_has_no_rows(wide):
    for name in ("nobody knows", "tag:nobody knows", "nobody:knows", ""):
        assert wide.filters.tag_rows(name).tolist() == []


def test_a_range_may_be_one_value_and_not_turned_round():
    def between(low, high):
        return parse_filter({"attributes": {"year": {"from": low, "to": high}}})

    assert between(1990, 1990).attributes == (("year", 1990, 1990, ()),)
    with pytest.raises(InputError, match="from 1991 is above to 1990"):
        between(1991, 1990)


def test_a_range_may_leave_its_bounds_out(wide):
    """Against a look at every item."""
    years = {card["id"]: card["year"] for card in CATALOGUE if not card["hidden"]}
    some = sorted(year for year in years.values() if year is not None)
    low, high = some[len(some) // 3], some[2 * len(some) // 3]
    mask = wide.filters.mask(parse_filter({"attributes": {"year": {"above": low, "below": high}}}))
    allowed = set(wide.release.items.ids(np.flatnonzero(mask)))
    assert allowed == {
        item for item, year in years.items() if year is not None and low < year < high
    }
    assert allowed


@pytest.mark.parametrize(
    ("value", "bound", "inside"),
    [
        ("DE", {"in": ["FR", "DE"]}, True),
        ("de", {"in": ["FR", "DE"]}, False),
        ("DE", {"from": 1}, False),
        (3.0, {"in": ["x", 3]}, True),
        (3.0, {"in": [4]}, False),
        (3.0, {"from": 3, "in": [3, 4]}, True),
        (3.0, {"above": 3, "in": [3, 4]}, False),
        ("2024-06-30", {"from": "2024-01-01", "to": "2024-06"}, True),
        ("2024-07-01", {"to": "2024-06"}, False),
        ("soon", {"from": "2024"}, False),
        (2024.0, {"from": "2024"}, False),
        (None, {"in": ["None"]}, False),
        (float("nan"), {"to": 1e9}, False),
    ],
)
def test_a_value_lies_within_bounds_or_not(value, bound, inside):
    assert within(value, bounds(bound, "here")) is inside


def test_an_unknown_attribute_is_told_which_there_are(wide):
    with pytest.raises(InputError, match="one of this catalogue's: .*language.*year"):
        wide.filters.mask(parse_filter({"attributes": {"colour": {"in": ["red"]}}}))


def test_a_range_of_dates_reaches_to_the_end_of_what_it_names():
    """By the times of a calendar; `to` a day, a month or a year takes all of it in."""
    assert last_second_of("2024-02") == seconds_of("2024-03-01") - 1
    assert last_second_of("2024") == seconds_of("2025-01-01") - 1
    assert last_second_of("2024-02-28") == seconds_of("2024-02-29") - 1
    assert last_second_of("2024-02-28T10:00:00Z") == seconds_of("2024-02-28T12:00:00+02:00")
    assert last_second_of("today") is None


def test_dates_of_a_csv_file_have_ranges(tmp_path):
    """Loaded as a stranger would; rules say dates as TOML writes them."""
    home = Home(tmp_path).create()
    (tmp_path / "films.csv").write_text(
        "item_id,title,premiere\na,A,2023-12-31\nb,B,2024-01-01T08:00:00Z\nc,C,2024-06-30\nd,D,\n"
    )
    (tmp_path / "seen.csv").write_text("user,item\n" + "".join(f"u,{i}\nv,{i}\n" for i in "abc"))
    store = EmbeddedStore(home.store)
    for table_name, file in (("items", "films.csv"), ("events", "seen.csv")):
        options = Options(
            table=table_name, attributes=("premiere",) if table_name == "items" else ()
        )
        load([tmp_path / file], "table", store, staging_folder=tmp_path / "staging",
             rejects_file=tmp_path / "rejects.csv", now=NOW, options=options)  # fmt: skip
    release = refresh(store, home, RefreshConfig(preset="fast"), now=NOW, force=True)
    store.close()
    came_since = {
        "b": LiveItem("b", attributes={"premiere": "soon"}),
        "e": LiveItem("e", attributes={"premiere": "2024-03-01"}),
    }

    def allowed(of=release, **bounds):
        mask = Filters(of).mask(parse_filter({"attributes": {"premiere": bounds}}))
        return "".join("abcde"[row] for row in np.flatnonzero(mask))

    longer = appended(release, came_since)
    assert allowed(longer, **{"from": "2024"}) == "ce"
    assert allowed(longer, **{"in": ["soon"]}) == "b"

    assert allowed(**{"from": "2024-01-01"}) == "bc"
    assert allowed(to="2023") == "a"
    assert allowed(**{"from": "2024-01-01T08:00:01Z", "to": "2024-06"}) == "c"
    assert allowed(**{"from": "2023-12-31", "to": "2024-01-01"}) == "ab"
    assert allowed(**{"from": date(2024, 1, 1), "in": ["2024-06-30", "2023-12-31"]}) == "c"
