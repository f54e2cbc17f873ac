"""Items that a release does not have are placed by what is known of them, and told of honestly."""

import subprocess
import sys
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from embeddings.vectors.fold_in import RELATED, fold_in_item
from embeddings.vectors.inductive import InductiveMap, fit_ridge
from graph.errors import InputError
from graph.snapshot import take_snapshot
from graph.stores.embedded_store import EmbeddedStore
from graph.weighting import weigh
from loaders.synthetic import generate
from recommender.learning.build import RefreshConfig
from recommender.learning.train import build_release
from recommender.ranking.request import Filter, NewItem, Request
from recommender.serving.recommend import Recommender
from tests.conftest import NOW
from tests.planted import niches


def ask(recommender, n=10, wanted=None, **known):
    request = Request(new_item=NewItem(**known), n=n, filter=wanted or Filter(), profile="neutral")
    return recommender.recommend([request], now=NOW)[0]


def niche_of(planted):
    return dict(zip(planted.answers.items, planted.answers.item_niches.tolist(), strict=True))


def share_in(planted, answer, niche):
    own = niche_of(planted)
    return np.mean([own[entry.item] == niche for entry in answer.items])


# ── the map ──────────────────────────────────────────────────────────────────────────────


def test_a_ridge_puts_unseen_items_into_their_niche_by_any_of_their_features():
    graph, niche = niches(items=20)
    held = np.arange(len(niche)) % 10 == 0
    vectors = np.eye(6, dtype=np.float32)[niche] * (1 + np.arange(len(niche))[:, None] % 7)
    vectors += np.random.default_rng(0).normal(0, 0.1, vectors.shape).astype(np.float32)
    words = sparse.csr_matrix(np.eye(6, dtype=np.float32)[niche])
    features = {"tags": graph.item_tags, "words": words}
    learned = fit_ridge({k: part[~held] for k, part in features.items()}, vectors[~held])
    for kind, part in features.items():
        made = np.array(
            [
                fold_in_item(learned, {kind: (row.indices, row.data)}, vectors[:0])[kind].sum(0)
                for row in part[held]
            ]
        )
        np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, rtol=1e-5)
        nearest = np.argsort(-made @ vectors[~held].T, axis=1)[:, :10]
        assert (niche[~held][nearest] == niche[held][:, None]).mean() >= 0.9


def test_a_ridge_is_the_solution_of_its_normal_equations():
    """Conjugate gradients against a direct solver, features scaled as the docstring says."""
    rng = np.random.default_rng(3)
    tags = (rng.random((50, 6)) < 0.4).astype(np.float32)
    words = (rng.random((50, 4)) < 0.4).astype(np.float32)
    targets = rng.normal(size=(50, 3)).astype(np.float32)
    learned = fit_ridge(
        {"tags": sparse.csr_matrix(tags), "words": sparse.csr_matrix(words)}, targets
    )
    known = (tags.sum(1) + words.sum(1)) > 0
    parts, scales = [], []
    for part in (tags, words):
        scale = part.sum(0) ** -0.25
        parts.append(part / np.sqrt(np.maximum(part.sum(1, keepdims=True), 1)) * scale)
        scales.append(scale)
    rows = np.hstack(parts)[known]
    goal = (targets / np.linalg.norm(targets, axis=1, keepdims=True))[known]
    solved = np.linalg.solve(rows.T @ rows + np.eye(10), rows.T @ goal)
    result = np.vstack([learned.vectors["tags"], learned.vectors["words"]])
    np.testing.assert_allclose(result, np.hstack(scales)[:, None] * solved, atol=2e-3)


def test_nothing_to_learn_from_gives_zeros():
    features = {"tags": sparse.csr_matrix((3, 2), dtype=np.float32)}
    learned = fit_ridge(features, np.ones((3, 4), np.float32))
    assert not learned.vectors["tags"].any()
    nobody = fit_ridge({"tags": sparse.csr_matrix((0, 2))}, np.zeros((0, 4), np.float32))
    assert nobody.vectors["tags"].shape == (2, 4)


def test_what_is_folded_in_is_the_mean_of_directions_and_sums_to_length_one():
    learned = InductiveMap({"tags": np.array([[2, 0], [2, 0]], np.float16)})
    rows, weights = np.array([0, 1]), np.ones(2)
    parts = fold_in_item(learned, {"tags": (rows, weights)}, np.array([[0, 5.0]], np.float32))
    total = sum(part.sum(axis=0) for part in parts.values())
    np.testing.assert_allclose(total, [0.5**0.5, 0.5**0.5], rtol=1e-6)
    np.testing.assert_allclose(parts["tags"][0], parts["tags"][1])
    np.testing.assert_allclose(parts[RELATED], [[0, 0.5**0.5]], rtol=1e-6)
    nothing = fold_in_item(learned, {"tags": (rows[:0], weights[:0])}, np.zeros((1, 2)))
    assert not any(part.any() for part in nothing.values())
    with pytest.raises(ValueError, match="2 tags but 1 weights"):
        fold_in_item(learned, {"tags": (rows, weights[:1])}, np.zeros((0, 2)))


# ── the release and the list ─────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """15 niches of about 20 items: words of their names are on less than a tenth of all titles."""
    folder = tmp_path_factory.mktemp("niches")
    planted = generate(6000, seed=2, niches=15)
    with closing(EmbeddedStore(folder / "store.sqlite")) as store:
        for batch in planted.batches():
            store.apply(batch)
        snapshot = take_snapshot(store)
    config = RefreshConfig(preset="fast", threads=1)
    graph = weigh(snapshot, config.weighting, NOW)
    return planted, Recommender(build_release(snapshot, graph, config, folder / "r", now=NOW))


def test_a_new_item_of_a_niche_lies_in_the_niche(many):
    """By tags, domain, title words or related items alone: nine of ten near items are right."""
    planted, recommender = many
    sizes = np.bincount(planted.answers.item_niches[planted.answers.item_niches >= 0])
    shares = {"tags": [], "domains": [], "title": [], "related": []}
    for niche in np.flatnonzero((sizes >= 12) & (sizes < len(planted.answers.items) / 10)).tolist():
        name = planted.answers.niches[niche]
        own = [item for item, of in niche_of(planted).items() if of == niche]
        for kind, known in (
            ("tags", {"tags": (name, *name.split(" "))}),
            ("domains", {"domains": (name,)}),
            ("title", {"title": f"Sketches of {name}"}),
            ("related", {"related": tuple(own[:2])}),
        ):
            answer = ask(recommender, **known)
            assert (answer.served_by, len(answer.items)) == ("new item", 10), kind
            shares[kind].append(share_in(planted, answer, niche))
            assert not set(known.get("related", ())) & {entry.item for entry in answer.items}
    assert len(shares["tags"]) >= 5
    assert min(map(np.mean, shares.values())) >= 0.9, shares


def test_reasons_are_exact_shares_of_what_pulls(recommender, planted):
    name = planted.answers.niches[0]
    near = planted.answers.items[-1]
    answer = ask(recommender, tags=(name,), domains=(name,), related=(near,))
    first = answer.items[0]
    assert first.source == "spectral"
    assert {reason.text for reason in first.reasons} & {
        f"is close to items tagged “{name}”",
        f"is close to items of “{name}”",
    }
    assert 0.99 <= sum(reason.share for reason in first.reasons) <= 1.01
    assert first.score == pytest.approx(sum(first.parts.values()), rel=1e-5)


def test_what_is_unknown_is_left_out_and_told(recommender, planted):
    name = planted.answers.niches[0]
    known = ask(recommender, tags=(name,))
    answer = ask(
        recommender,
        tags=(name, "qwx"),
        domains=("nowhere",),
        related=("no-item",),
        title="zzyzx",
    )
    assert [entry.item for entry in answer.items] == [entry.item for entry in known.items]
    assert answer.notes == (
        "these tags are not known: 'qwx'",
        "these domains are not known: 'nowhere'",
        "nothing was learned about these words of the title: 'zzyzx'",
        "these related items are not known: 'no-item'",
    )
    many = ask(recommender, tags=tuple(f"x{k}" for k in range(50)))
    assert many.notes[0].endswith("'x19' and 30 more")


def test_nothing_known_gives_what_is_popular_and_says_so(recommender):
    for known in ({}, {"tags": ("qwx",), "title": "!?"}):
        answer = ask(recommender, n=3, **known)
        assert (answer.served_by, len(answer.items)) == ("popular", 3)
        assert "nothing that is known about the new item" in answer.notes[-1]
        popular = recommender.popular(3, now=NOW)
        assert [entry.item for entry in answer.items] == [entry.item for entry in popular.items]


def test_a_domain_that_has_no_place_gives_what_is_popular_in_it(recommender, planted):
    release = recommender.release
    arrays = dict(release.arrays.items())
    arrays["fold.spectral.domains"] = np.zeros_like(arrays["fold.spectral.domains"])
    blind = Recommender(replace(release, arrays=arrays))
    name = planted.answers.niches[0]
    answer = ask(blind, n=5, domains=(name,))
    assert answer.served_by == "popular in domain"
    assert all(name in entry.domains for entry in answer.items)


def test_filters_hold_and_lists_are_full(recommender, planted):
    names = planted.answers.niches
    wanted = Filter(domains=(names[1],))
    answer = ask(recommender, n=5, wanted=wanted, tags=(names[0],))
    assert len(answer.items) == 5
    assert all(names[1] in entry.domains for entry in answer.items)
    everything = ask(recommender, n=200, tags=(names[0],))
    assert len(everything.items) == min(200, len(planted.answers.items))


def test_a_new_item_stands_alone(recommender, planted):
    request = Request(user=planted.answers.users[0], new_item=NewItem())
    with pytest.raises(InputError, match="or a new item"):
        recommender.recommend([request], now=NOW)


def test_a_batch_gives_what_each_request_gives(recommender, planted):
    """New items among users and sessions: vectors do not get mixed up."""
    names = planted.answers.niches
    requests = [
        Request(user=planted.answers.users[0], n=5, source="spectral"),
        Request(new_item=NewItem(tags=(names[0],)), n=5),
        Request(n=5),
        Request(new_item=NewItem(domains=(names[1],)), n=5),
    ]
    together = recommender.recommend(requests, now=NOW)
    alone = [recommender.recommend([request], now=NOW)[0] for request in requests]
    assert [[i.item for i in entry.items] for entry in together] == [
        [i.item for i in entry.items] for entry in alone
    ]


def test_maps_come_back_from_a_release_as_they_were(recommender):
    arrays = recommender.release.arrays
    words = recommender.release.item_words
    assert arrays["fold.spectral.words"].shape == (len(words), arrays["vectors.spectral"].shape[1])
    assert len(arrays["fold.tag_rows"]) == len(arrays["fold.spectral.tags"]) > 0
    assert len(arrays["fold.spectral.domains"]) == len(recommender.release.domains)
    for name in ("tags", "domains", "words"):
        array = arrays[f"fold.spectral.{name}"]
        assert array.dtype == np.float16
        assert np.isfinite(array).all()
    added = sum(a.nbytes for name, a in arrays.items() if name.startswith("fold."))
    bound = 2 * 2 * arrays["vectors.spectral"].shape[1] + 40  # two features an item, their names
    assert added <= bound * len(recommender.release.items) + arrays["fold.spectral.domains"].nbytes


def test_learning_and_asking_need_no_torch():
    code = """
import sys
import numpy as np
from scipy import sparse
from embeddings.vectors.inductive import fit_ridge
import recommender.learning.refresh, recommender.serving.recommend
fit_ridge({"tags": sparse.eye(3, format="csr")}, np.eye(3, dtype=np.float32))
print(*{"torch", "torch_geometric", "sklearn"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
