"""Words of titles and texts: planted ones are used, random ones change nothing."""

from contextlib import closing
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse

from embeddings.item_item.cold_items import content
from embeddings.item_item.recipe import WORD_WEIGHT
from embeddings.item_item.word_choice import best_word_weight
from graph.model import NO_ROW
from graph.snapshot import drop_pairs, take_snapshot
from graph.stores.embedded_store import EmbeddedStore
from graph.weighting import weigh
from loaders.synthetic import generate
from recommender.learning.build import RefreshConfig, build
from recommender.learning.fold_in_arrays import with_new_items
from recommender.learning.train import build_release
from recommender.ranking.filters import Filters
from recommender.ranking.request import NewItem
from recommender.releases.item_words import item_words, texts_among, weighed_words
from recommender.serving.live_items import live_item, placed
from recommender.serving.new_items import NewItems
from tests.conftest import NOW
from tests.planted import niches

CONFIG = RefreshConfig(preset="fast", threads=1)


# ── what words are, and how much they count ──────────────────────────────────────────────


def test_a_word_counts_by_its_mentions_and_in_a_title_as_often_as_three():
    assert weighed_words("The Grey Owl, grey") == {"the": 1, "grey": 1, "owl": 1}
    words = weighed_words("Owl", ("An owl of the marsh", "the marsh: marsh"))
    whole = 1 + np.log(3)
    for word, times in {"owl": 4, "the": 2, "marsh": 3}.items():
        assert words[word] == pytest.approx((1 + np.log(times)) / whole)
    assert len(words) == 3
    many = weighed_words("one", (" ".join(f"word{k}" for k in range(500)),))
    assert list(many)[:2] == ["one", "word0"] and len(many) == 100


def test_texts_are_attributes_with_five_words_and_more_on_average():
    items = ['{"by": "Ann Lee", "about": "five words are quite enough here", "year": 1999}', "{}"]
    items += ['{"about": "", "by": "nobody whom any one of you could know by name"}']
    items += ['{"by": "Bob", "about": "or sometimes six words, not five", "list": ["a b c"]}']
    assert texts_among(items[:1]) == ["about"]
    assert texts_among(items) == []  # (6 + 0 + 5) / 3 words
    assert texts_among([items[0], items[3]]) == ["about"]


def test_words_of_texts_are_counted_as_their_weights():
    matrix, names = item_words([("owl", ("owl marsh",)), ("marsh", ()), ("owl alone", ())])
    assert names == ["owl", "marsh"]
    whole = 1 + np.log(3)
    expected = [[(1 + np.log(4)) / whole, 1 / whole], [0, 1], [1, 0]]
    np.testing.assert_allclose(matrix.toarray(), expected, rtol=1e-6)


def test_likeness_is_the_cosine_of_tags_and_weighed_words_together():
    """Items 0 and 1 share their tag, 0 and 2 their word; all are as rare as each other."""
    tags = sparse.csr_matrix(np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32))
    words = sparse.csr_matrix(np.array([[1, 0], [0, 1], [1, 0], [0, 1]], np.float32))
    rows = content(tags, words, 2.0)
    np.testing.assert_allclose((rows @ rows[0].T).toarray().ravel(), [1, 0.2, 0.8, 0], rtol=1e-6)
    rows = content(tags, words[:, :0], 2.0)  # nobody has words, so tags are all there is
    np.testing.assert_allclose((rows @ rows[0].T).toarray().ravel(), [1, 1, 0, 0], rtol=1e-6)


# ── the choice ───────────────────────────────────────────────────────────────────────────


def weight_of(users, tags, words, seed=0):
    tried: dict = {}
    drawn = np.arange(0, users.shape[1], 6)
    weight = best_word_weight(users, tags, words, drawn, seed=seed, tried=tried, say=lambda _: None)
    return weight, tried


def by_niche(niche, rng, *, shuffled=False):
    """One of three words of the item's niche."""
    words = 3 * (rng.permutation(niche) if shuffled else niche) + rng.integers(3, size=len(niche))
    ones = np.ones(len(niche), np.float32)
    return sparse.csr_matrix((ones, (np.arange(len(niche)), words)))


@pytest.mark.parametrize("seed", range(3))
def test_words_count_as_much_as_they_tell_beside_tags(seed):
    rng = np.random.default_rng(seed)
    graph, niche = niches(seed, items=60, users=40)
    users = sparse.csr_matrix(graph.user_items)
    telling, random = (by_niche(niche, rng, shuffled=shuffled) for shuffled in (False, True))
    assert weight_of(users, random, telling, seed)[0] > WORD_WEIGHT
    assert weight_of(users, telling, random, seed)[0] == 0
    assert weight_of(users, telling[:, :0], telling, seed)[0] == WORD_WEIGHT
    weight, tried = weight_of(users, telling, telling, seed)
    assert weight > 0
    assert sum(tried[f"words x {weight:g}"]) >= sum(tried["words x 0.1"])


def test_too_few_users_change_nothing():
    graph, niche = niches(items=60, users=8)  # 48 in all
    random = by_niche(niche, np.random.default_rng(0), shuffled=True)
    users = sparse.csr_matrix(graph.user_items)
    assert weight_of(users, random, random) == (WORD_WEIGHT, {})


# ── a refresh ────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    """(snapshot without tags and domains, niche of each item): a tenth of the items is cold."""
    planted = generate(6000, seed=2, niches=15)
    folder = tmp_path_factory.mktemp("words")
    with closing(EmbeddedStore(folder / "store.sqlite")) as store:
        for batch in planted.batches():
            store.apply(batch)
        snapshot = take_snapshot(store)
    own = dict(zip(planted.answers.items, planted.answers.item_niches.tolist(), strict=True))
    niche = np.array([own[item] for item in snapshot.items])
    cold = np.arange(len(niche)) % 10 == 0
    gone = cold[snapshot.events.item] | (snapshot.events.tag >= 0)
    snapshot = drop_pairs(snapshot, snapshot.events.user[gone], snapshot.events.item[gone])
    nothing = [
        replace(links, source=links.source[:0], target=links.target[:0], weight=links.weight[:0])
        for links in (snapshot.item_tags, snapshot.item_domains)
    ]
    return replace(snapshot, item_tags=nothing[0], item_domains=nothing[1]), niche, cold


def with_texts(snapshot, titles=None, texts=None):
    empty = [""] * len(snapshot.items)
    about = [f'{{"about": "{text}"}}' if text else "{}" for text in texts or empty]
    return replace(snapshot, item_titles=pa.array(titles or empty), item_attributes=pa.array(about))


def words_of_niche(niche, rng):
    """Six words for each item: three of its niche's ten, and three of anybody's."""
    return [
        " ".join(
            [f"niche{n}word{k}" for k in rng.permutation(10)[:3]]
            + [f"common{k}" for k in rng.permutation(60)[:3]]
        )
        for n in niche.tolist()
    ]


def test_random_titles_change_nothing_in_a_release(catalogue):
    snapshot, niche, _ = catalogue
    rng = np.random.default_rng(0)
    random = words_of_niche(rng.permutation(niche), rng)
    made = []
    for titles in (random, None):
        own = with_texts(snapshot, titles)
        graph = weigh(own, CONFIG.weighting, NOW)
        built = build(own, graph, CONFIG, lambda _: None)
        made.append(with_new_items(built, own, graph, lambda _: None))
    assert made[0].recipe.word_weight == 0
    of_words, of_none = ({k: a for k, a in b.arrays.items() if "cards" not in k} for b in made)
    assert of_words.keys() == of_none.keys()
    for name, array in of_words.items():
        assert array.tobytes() == of_none[name].tobytes(), name


@pytest.mark.parametrize("where", ["titles", "texts"])
def test_items_known_by_words_alone_are_placed_in_the_catalogue_and_live(
    catalogue, tmp_path, where
):
    snapshot, niche, cold = catalogue
    rng = np.random.default_rng(1)
    own = with_texts(snapshot, **{where: words_of_niche(niche, rng)})
    graph = weigh(own, CONFIG.weighting, NOW)
    release = build_release(own, graph, CONFIG, tmp_path / "release", now=NOW)
    assert release.texts == (("about",) if where == "texts" else ())
    assert release.item_words.row("niche3word0") != NO_ROW
    table = release.table
    proposed = [
        (niche[row], niche[item])
        for row in np.flatnonzero(~cold & (niche >= 0)).tolist()
        for item in [n for n in table.neighbours[row].tolist() if n >= 0 and cold[n]][:1]
    ]
    assert len(proposed) > 100
    assert np.mean([a == b for a, b in proposed]) >= 0.7
    # Items that came since, known by such words alone; the live path places them by the same map.
    names = [n for n in range(15) if np.count_nonzero((niche == n) & ~cold) >= 10]
    new = []
    for n in names:
        text = f"niche{n}word1 with niche{n}word2 unheardof"
        known = {"title": text} if where == "titles" else {"attributes": {"about": text}}
        new.append(live_item(f"new{n}", known, {}))
    units, ((near, scores), *_) = placed(NewItems(release, Filters(release)), release, new)
    assert units.any(axis=1).all() and (scores[:, 0] > 0).all()
    shares = [(niche[rows[:8]] == n).mean() for n, rows in zip(names, near, strict=True)]
    assert np.mean(shares) >= 0.8
    item = (
        NewItem(title="unheardof")
        if where == "titles"
        else NewItem(attributes={"about": "unheardof"})
    )
    assert NewItems(release, Filters(release)).locate(item).source is None
