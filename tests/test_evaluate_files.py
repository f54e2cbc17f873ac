"""`nichegraph evaluate` on a given split: files in, one JSON object out."""

import json
import random

import pytest

from api.cli.main import run

GROUPS, USERS, ITEMS = 4, 10, 12
KEPT = 8  # of a user's ten items are learned from


@pytest.fixture(scope="module")
def chosen():
    """user -> items: users of four niches take ten of its twelve items, in random order."""
    draw = random.Random(3)
    return {
        group * USERS + user: draw.sample(range(group * ITEMS, (group + 1) * ITEMS), 10)
        for group in range(GROUPS)
        for user in range(USERS)
    }


def lines(path, rows):
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def evaluated(capsys, *words):
    code = run(["evaluate", *(str(word) for word in words), "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    return json.loads(out)


def is_whole(result, *, baselines):
    """The shape that is promised, and lists that find what was planted."""
    assert result["dataset"]["format"]
    for lists in (result["served"], result["served_default"], *result["sources"].values()):
        for name in ("recall", "ndcg", "map", "hit"):
            assert 0 <= lists[f"{name}@10"] <= 1
            assert 0 <= lists[f"{name}@20"] <= 1
        assert {"coverage", "gini", "novelty", "long_tail_share"} <= set(lists)
    assert result["served"]["recall@10"] > 0.95  # four items of a niche are left, two are right
    assert set(baselines) <= set(result["baselines"])
    assert result["peak_rss_mb"] > 0
    for step in result["steps"].values():
        assert {"seconds", "peak_rss_mb"} <= set(step)


def test_adjacency_lists(chosen, tmp_path, capsys):
    def rows(part):
        return [" ".join(map(str, (user, *items[part]))) for user, items in chosen.items()]

    train = lines(tmp_path / "train.txt", rows(slice(KEPT)))
    test = lines(tmp_path / "test.txt", rows(slice(KEPT, None)))
    words = ["--format", "lightgcn", "--train", train, "--test", test, "--preset", "fast"]
    result = evaluated(capsys, *words)
    assert result["counts"]["test_pairs"] == GROUPS * USERS * (10 - KEPT)
    assert result["counts"]["train_pairs"] == GROUPS * USERS * KEPT
    is_whole(result, baselines=["popularity", "item_knn", "ease"])
    assert result["dataset"]["train"] == [str(train)]


def test_tables_with_ratings_and_an_item_file(chosen, tmp_path, capsys):
    def rows(part):
        pairs = [(user, item) for user, items in chosen.items() for item in items[part]]
        return ["who,what,stars", *(f"u{user},i{item},{3 + item % 3}" for user, item in pairs)]

    train = lines(tmp_path / "train.csv", rows(slice(KEPT)))
    test = lines(tmp_path / "test.csv", rows(slice(KEPT, None)))
    names = [f"i{item},Title {item},niche {item // ITEMS}" for item in range(GROUPS * ITEMS)]
    items = lines(tmp_path / "items.csv", ["id,title,genres", *names, "i99,Nobody's,niche 0"])
    columns = ["--column", "user=who", "--column", "item=what", "--column", "value=stars"]
    columns += ["--kind", "rating"]
    words = ["--format", "table", "--train", train, "--test", test, "--items", items]
    result = evaluated(capsys, *words, *columns, "--preset", "fast", "--no-baselines")
    is_whole(result, baselines=[])
    assert result["counts"]["items"] == GROUPS * ITEMS + 1  # the item file's too
    pairs = GROUPS * USERS * (10 - KEPT)
    assert result["ratings"]["pairs"] == pairs
    assert 0 < result["counts"]["test_pairs"] < pairs  # what was rated low is not to be found
    assert 0 <= result["served"]["rmse"] < 1  # the stars are 3, 4 and 5, the same for everybody


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--train", "a.csv"], "--train and --test"),
        (["--items", "a.csv"], "--items"),
        (["--train", "a.csv", "--test", "b.csv", "--split", "time"], "--split"),
        (["--train", "a.csv", "--test", "b.csv", "--preset", "nope"], "nope"),
        (["--split", "nope"], "nope"),
    ],
)
def test_what_does_not_fit_together_is_one_sentence(words, message, tmp_path, capsys):
    assert run(["--home", str(tmp_path), "evaluate", *words]) == 1
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_the_weighting_of_the_home_counts_on_the_store(tmp_path, capsys):
    (tmp_path / "weighting.toml").write_text("nonsense = 1\n", encoding="utf-8")
    assert run(["--home", str(tmp_path), "evaluate"]) == 1
    assert "nonsense" in capsys.readouterr().err
