"""The memory of a refresh: foretold by the shapes that are allocated, and refused in time."""

import tracemalloc
from contextlib import closing

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse import csr_array

from api.cli.main import run
from api.memory import memory
from embeddings.item_item.candidates import SPECTRA
from embeddings.item_item.follows import follow_table
from embeddings.item_item.recency import order_of
from embeddings.item_item.recipe import RIDGE, Recipe, Scorer
from embeddings.item_item.scorers import Fitted
from graph.errors import InputError
from graph.snapshot import take_snapshot
from graph.stores.embedded_store import EmbeddedStore
from graph.weighting import Weighting, weigh
from recommender.learning.build import RefreshConfig
from recommender.learning.held_parts import features_of
from recommender.learning.large_arrays import judged_items
from recommender.learning.memory import foretold, moments, peak
from recommender.segments.features import Catalogue, History, Layout, behaviour

COUNTS = {"users": 40_000, "items": 50_000, "tags": 1_700, "events": 10**6, "item_tags": 126_000}
DEFAULT, FAST = RefreshConfig(), RefreshConfig(preset="fast")
GB = 10**9


@pytest.mark.parametrize("preset", ["fast", pytest.param("default", marks=pytest.mark.long)])
def test_what_is_foretold_has_the_shapes_that_are_allocated(planted_home, preset):
    with closing(EmbeddedStore(planted_home.store)) as store:
        snapshot, counts = take_snapshot(store), store.counts()
    graph = weigh(snapshot, Weighting(), 1_760_000_000)
    shared = features_of(graph)
    width = 200 if preset == "fast" else 300
    scorers = (
        Scorer("exact", 0.2, 0.3, 10.0),
        RIDGE,
        Scorer("cosine", 0.5, 0.5),
        Scorer("popularity"),
        *SPECTRA[preset],
    )
    recipe = Recipe(((RIDGE, 1.0),), (1.0,) * len(shared), 0.0, width, width)
    model = Fitted(sparse.csr_matrix(graph.user_items), shared, recipe, 0, 1, scorers)
    item_rows = np.arange(3, len(snapshot.items), 2, dtype=np.int32)
    targets, scores = model.side_by_side(scorers, item_rows)
    expected = moments(counts, RefreshConfig(preset=preset))
    at_all = expected["fitting the item table"]["blended scores"]
    assert at_all == model.scores(RIDGE).nbytes
    for number, scorer in enumerate(scorers):  # those of some items are those of all
        assert np.array_equal(scores[..., number], model.scores(scorer)[item_rows])
    assert np.array_equal(
        targets.supports, np.concatenate([block for _, block in model.blocks()])[item_rows]
    )
    expected = expected["choosing the blend"]
    share = len(item_rows) / judged_items(counts)
    assert expected["targets of judges' items"] * share == pytest.approx(
        targets.supports.nbytes, rel=0.01
    )
    assert expected["scores side by side"] * share == pytest.approx(scores.nbytes, rel=0.01)
    tables = [model.table(scorer) for scorer in scorers[:3]]
    held = sum(table.neighbours.nbytes + table.scores.nbytes for table in tables)
    assert expected["tables of scorers"] == held
    dimensions = SPECTRA[preset][0].dimensions
    assert expected["spectrum"] == model.spectrum(0.5, 0.5, dimensions).item_vectors.nbytes
    assert expected["events"] == sum(
        getattr(snapshot.events, name).nbytes
        for name in ("user", "item", "kind", "value", "tag", "at", "key")
    )


def test_what_follows_what_takes_what_is_foretold():
    rng = np.random.default_rng(0)
    users, items, each = 5_000, 1_000, 20
    rows, columns = np.repeat(np.arange(users), each), rng.integers(0, items, users * each)
    likes = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), (users, items))
    likes.data[:] = 1
    order = order_of(likes, rng.integers(0, 10**9, likes.nnz))
    follow_table(likes[:9], order[:9])  # whatever is not yet compiled
    tracemalloc.start()
    table = follow_table(likes, order)
    _, held = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    counts = {"users": users, "items": items, "events": likes.nnz}
    expected = moments(counts, DEFAULT)
    assert held == pytest.approx(expected["reading the order"]["what follows what"], rel=0.1)
    newest = np.empty(likes.nnz, np.float32)
    in_a_release = table.neighbours.nbytes + table.scores.nbytes + newest.nbytes
    half = expected["learning profiles"]["what follows what"]  # not every release has one
    assert half == in_a_release // 2


def test_more_of_anything_needs_more():
    more = {name: {name: 2 * count} for name, count in COUNTS.items()}
    # More people with as many events each: with fewer, the judges' histories hold fewer items.
    more["users"]["events"] = 2 * COUNTS["events"]
    more["items"]["items"] = 60_000  # above that, tables are narrower
    for counts in more.values():
        for config in (DEFAULT, FAST):
            assert peak(COUNTS | counts, config) > peak(COUNTS, config)
    assert peak(COUNTS, FAST) < peak(COUNTS, DEFAULT) < peak(COUNTS, RefreshConfig(preset="graph"))
    nothing = dict.fromkeys(COUNTS, 0)
    judging = moments(nothing, DEFAULT)["judging"]
    assert peak(nothing, DEFAULT) == judging["libraries"] + judging["what groups users"]


def test_it_says_what_it_expects_or_refuses_with_both_figures():
    needed = peak(COUNTS, DEFAULT)
    words = f"{needed / GB:.1f} GB"
    assert words in foretold(COUNTS, DEFAULT, None, 0)
    assert foretold(COUNTS, DEFAULT, needed, 30 * GB).endswith("30.0 GB are free")
    with pytest.raises(InputError, match=f"needs about {words}.* it may take 1.5 GB.*--memory"):
        foretold(COUNTS, DEFAULT, 3 * GB // 2, 30 * GB)
    enough_for_fast = (peak(COUNTS, FAST) + needed) // 2
    here = f"this machine has {enough_for_fast / GB:.1f} GB.*--preset fast needs"
    with pytest.raises(InputError, match=here):
        foretold(COUNTS, DEFAULT, 30 * GB, enough_for_fast)
    with pytest.raises(InputError) as refusal:
        foretold(COUNTS, FAST, GB, 30 * GB)
    assert "--preset fast" not in str(refusal.value)


def files(root, **contents):
    """Write files under a folder; `__` in a name stands for a slash."""
    for name, text in contents.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_what_is_free_is_what_the_tightest_group_leaves(tmp_path):
    assert memory(tmp_path) == {"total": 0, "available": 0}
    files(tmp_path, proc__meminfo="MemTotal: 16000 kB\nMemAvailable: 9000 kB\nHugePages_Total: 0\n")
    assert memory(tmp_path) == {"total": 16_384_000, "available": 9_216_000}

    files(tmp_path, proc__self__cgroup="0::/jobs/night\n")
    top = tmp_path / "sys/fs/cgroup/jobs"
    files(top / "night", **{"memory.max": "max\n", "memory.current": "700000\n"})
    assert memory(tmp_path)["available"] == 9_216_000
    files(top, **{"memory.max": "8000000\n", "memory.current": "3000000\n"})
    files(top, **{"memory.stat": "anon 5\ninactive_file 500000\n"})
    assert memory(tmp_path) == {"total": 8_000_000, "available": 5_500_000}
    files(top, **{"memory.current": "9000000\n"})
    assert memory(tmp_path)["available"] == 0

    # The older version, in a container: the path is the host's, the group stands at the top.
    files(tmp_path, proc__self__cgroup="4:cpu:/x\n9:memory:/docker/0af\n")
    top = tmp_path / "sys/fs/cgroup/memory"
    files(top, **{"memory.limit_in_bytes": "4000000\n", "memory.usage_in_bytes": "1000000\n"})
    assert memory(tmp_path) == {"total": 4_000_000, "available": 3_000_000}
    files(top, **{"memory.limit_in_bytes": "9223372036854771712\n"})
    assert memory(tmp_path)["total"] == 16_384_000


def does_not_begin(home, capfd):
    """With less memory than a refresh of next to nothing takes."""
    capfd.readouterr()
    assert run([*home, "refresh", "--preset", "fast", "--threads", "1", "--memory", "100MB"]) == 1
    errors = capfd.readouterr().err
    assert "needs about 0.4 GB of memory, and it may take 0.1 GB" in errors
    assert "taking a snapshot" not in errors


def test_a_refresh_that_needs_too_much_does_not_begin(tmp_path, capfd, monkeypatch):
    home = ["--home", str(tmp_path / "home")]
    plays = tmp_path / "plays.csv"
    plays.write_text("user,item\nann,b\nann,c\nbob,b\n")
    assert run([*home, "load", str(plays)]) == 0
    does_not_begin(home, capfd)
    assert run([*home, "refresh", "--memory", "plenty"]) == 1
    assert "refresh_memory" in capfd.readouterr().err
    (tmp_path / "home" / "settings.toml").write_text('refresh_memory = "200MB"\n')
    assert run([*home, "refresh"]) == 1
    assert "it may take 0.2 GB" in capfd.readouterr().err
    # Without the refusal the same looks for it in vain.
    monkeypatch.setattr("recommender.learning.memory.foretold", lambda *_: "expecting little")
    with pytest.raises(AssertionError):
        does_not_begin(home, capfd)


@pytest.fixture
def many_domains():
    """9,000 users with eight items each of 4,000, every fourth of which has a domain of its own."""
    rng = np.random.default_rng(0)
    users, items = 9_000, 4_000
    rows = np.repeat(np.arange(users), 8)
    columns = rng.integers(0, items, len(rows))
    user_items = csr_array(
        (rng.random(len(rows)).astype(np.float32), (rows, columns)), shape=(users, items)
    )
    owned = np.arange(0, items, 4)
    domains = csr_array(
        (np.ones(len(owned), np.float32), (owned, owned // 4)), shape=(items, len(owned))
    )
    return user_items, domains


def test_grouping_holds_no_matrix_of_all_users_and_all_domains(many_domains):
    user_items, domains = many_domains
    catalogue = Catalogue(domains, domains, np.zeros(4_000, np.float32), np.zeros((4_000, 2)))
    empty = np.zeros(0, np.int64)
    history = History(user_items, empty, empty, empty.astype(np.float32), empty)
    wanted = Layout((3, 5), ("a", "b"), (), 2)
    tracemalloc.start()
    raw = behaviour(history, catalogue, wanted, 0)
    _, held = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < user_items.shape[0] * domains.shape[1] * 8

    mix = (user_items @ domains).toarray().astype(np.float64)
    some = mix.sum(axis=1) > 0
    mix[some] /= mix[some].sum(axis=1, keepdims=True)
    largest = raw[:, wanted.names.index("largest domain")]
    assert np.allclose(largest[some], mix[some].max(axis=1))
    assert np.isnan(largest[~some]).all()
    own = raw[:, wanted.names.index("domain b")]
    assert np.allclose(own[some], mix[some][:, 5])
