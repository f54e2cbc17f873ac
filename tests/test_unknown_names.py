"""A domain or tag that nobody knows is told of, with the names most like it."""

from graph.vocabulary import Vocabulary
from recommender.ranking.filters import Filters
from recommender.ranking.request import Filter, Request
from recommender.ranking.unknown_names import MOST_NOTES, near_names, notes_on

NOW = 1_700_000_000


def test_near_names_are_the_same_but_for_case_or_a_slip():
    names = Vocabulary.of(["Jazz", "Rock", "Bop", "rock > prog"])
    assert near_names("jaz", names) == ["Jazz"]
    assert near_names("ROCK", names)[0] == "Rock"
    assert near_names("xyzzy", names) == []


def test_of_very_many_names_those_that_begin_alike_are_compared():
    names = Vocabulary.of([f"Word {n:05}" for n in range(20_000)] + ["Baroque", "Zydeco"])
    assert near_names("baroqe", names) == ["Baroque"]
    near = near_names("word 1234", names)
    assert near
    assert all(name.startswith("Word 12") for name in near)


def test_an_answer_tells_what_of_its_filter_nobody_knows(recommender):
    release = recommender.release
    domain, tag = release.domains.id(0), release.tag_names.id(0)
    wanted = Filter(domains=(domain + "x",), none_of=(Filter(tags_any=(tag + "x", tag.upper())),))
    answer = recommender.recommend([Request(filter=wanted)], now=NOW)[0]
    about = [note for note in answer.notes if "is not known" in note]
    assert len(about) == 2
    assert f"the domain {domain + 'x'!r} is not known; did you mean" in about[0]
    assert repr(domain) in about[0]
    assert f"the tag {tag + 'x'!r} is not known; did you mean" in about[1]
    known = Filter(domains=(domain,), tags_any=(tag.upper(),))
    assert not recommender.recommend([Request(filter=known)], now=NOW)[0].notes


def test_a_thousand_unknown_names_make_a_few_notes(recommender):
    wanted = Filter(tags_any=tuple(f"nothing {n}" for n in range(1000)))
    notes = notes_on(wanted, recommender.release, Filters(recommender.release))
    assert len(notes) == MOST_NOTES
