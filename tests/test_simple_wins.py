"""Where a simple recommender finds more over everybody, that is what gets published."""

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from test_robust_choice import drawn

from api.cli.main import run
from embeddings.item_item.recipe import Scorer
from graph.model import table
from graph.stores.embedded_store import EmbeddedStore
from recommender.learning import train
from recommender.learning.build import Choice
from recommender.learning.gates import Comparison, Figure, Reason, Verdict
from recommender.learning.simple import SCORERS, simple_choice
from recommender.ranking.request import Request
from recommender.releases.home import Home
from recommender.releases.publishing import current, open_release
from recommender.serving.recommend import Recommender

NOW = 1_760_000_000
NOISE = Scorer("spectral", 0.5, 0.5, 0.5, 64)  # directions of what chance put together


@pytest.fixture
def home(tmp_path):
    """400 users draw from one law of popularity: nothing can be learned but that."""
    home = Home(tmp_path / "home").create()
    users, items = drawn("popular").nonzero()
    rows = [
        {"user": f"u{user}", "item": f"i{item}", "kind": "view", "at": NOW - int(user)}
        for user, item in zip(users, items, strict=True)
    ]
    with closing(EmbeddedStore(home.store)) as store:
        store.apply({"events": table("events", rows)})
    return home


@pytest.mark.parametrize("chosen_by", ["the choice", "the gates"])
def test_popularity_is_published_and_says_so(home, monkeypatch, capfd, chosen_by):
    """Also where the choice took what the gates then find to be worse."""
    if chosen_by == "the gates":
        choose = train.choose

        def noise(*arguments, **more):
            made = choose(*arguments, **more)
            report = made.report | {"weights": {NOISE.name: 1.0}, "scorers": [NOISE.as_json()]}
            return Choice(replace(made.recipe, weights=((NOISE, 1.0),)), report)

        monkeypatch.setattr(train, "choose", noise)
    assert run(["--home", str(home.folder), "refresh", "--preset", "fast"]) == 0
    words = capfd.readouterr().err
    assert ("popularity surely finds more over everybody" in words) == (chosen_by == "the gates")
    assert "it ranks by popularity" in words
    release = open_release(home.releases / current(home))
    assert release.manifest["ranks_by"] == "popularity"
    assert release.manifest["item_table"]["weights"] == {"popularity": 1.0}
    page = (home.reports / f"{release.name}.html").read_text()
    assert "It ranks by popularity, which does better here than what was learned." in page
    answer = Recommender(release).recommend([Request(user="u0", n=20)], now=NOW)[0]
    assert answer.served_by == "popularity"
    own = set(release.histories.of(int(release.users.rows(["u0"])[0])).tolist())
    counts = np.diff(release.item_users.indptr)
    shown = [int(release.items.rows([item.item])[0]) for item in answer.items]
    others = np.setdiff1d(np.arange(len(counts)), list(own))
    assert sorted(counts[shown]) == sorted(counts[others])[-20:]


def test_only_a_sure_loss_over_everybody_to_one_that_fits_a_table_counts():
    def choice(part="everybody", reasons=(), recipe=None, **rivals):
        rivals = {
            name.replace("_", " "): Comparison(mean, 0.2 - mean, 0, 0, bound)
            for name, (mean, bound) in rivals.items()
        }
        figure = Figure(part, 500, 0.2, 0.005, rivals)
        verdict = Verdict([figure], [Reason(gate, "") for gate in reasons])
        return simple_choice(verdict, recipe or Choice(train.Recipe(((NOISE, 1.0),))))

    sure, unsure = (0.25, -0.01), (0.25, -0.001)
    assert choice(popularity=(0.22, -0.01), item_kNN=sure)[0] == "item kNN"
    assert choice(popularity=sure, reasons=["baseline: everybody"])[0] == "popularity"
    assert choice(popularity=unsure) is None
    assert choice(EASE=sure) is None
    assert choice(part="long tail", popularity=sure) is None
    # What else speaks against it would only be hidden by another recipe.
    assert choice(popularity=sure, reasons=["served: everybody"]) is None
    # Gates draw pairs at random: they say nothing of what reads the order.
    for what in ("recency_exponent", "follows_weight", "sequence_weight"):
        ordered = Choice(train.Recipe(((NOISE, 1.0),), **{what: 0.5}))
        assert choice(popularity=sure, recipe=ordered) is None
    ranks_already = Choice(train.Recipe(((SCORERS["popularity"], 1.0),)))
    assert choice(popularity=sure, recipe=ranks_already) is None
