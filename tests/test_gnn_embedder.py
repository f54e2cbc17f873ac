"""The network learns planted niches, its gradients are right, and it goes on after a kill."""

import numpy as np
import pytest
from scipy import sparse

from tests.data import package

torch = package("torch")

from embeddings.vectors import gnn_embedder as gnn
from embeddings.vectors.embedder import EmbeddingGraph, Embeddings
from embeddings.vectors.fold_in import fold_in_item, fold_in_users
from embeddings.vectors.gnn_checkpoint import recall_at_20
from embeddings.vectors.gnn_embedder import GnnEmbedder
from embeddings.vectors.gnn_features import fit_inductive
from embeddings.vectors.gnn_network import Batch, Edges, GnnConfig, Network, batch_loss, train_epoch
from graph.errors import SettingError
from tests.planted import neighbours_in_niche, niches

SMALL = {"dimensions": 16, "batch": 40, "negatives": 60, "learning_rate": 0.02, "epochs": 15}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def noise(graph, dimensions=16):
    """A start that knows nothing."""
    rng = np.random.default_rng(9)
    parts = [rng.normal(0, 0.1, (n, dimensions)).astype(np.float32) for n in graph.counts]
    return Embeddings(*parts)


def learns(optimizer, monkeypatch):
    """Whether training from noise with this optimizer finds niches that propagation alone, which
    finds some, does not; and whether the loss falls.
    """
    graph, niche = niches(stray=0.2)
    config = GnnConfig(**{**SMALL, "epochs": 30})
    monkeypatch.setattr(gnn, "spectral_start", lambda graph, width, seed: noise(graph, width).items)
    made = GnnEmbedder(config, optimizer=optimizer).embed(graph, seed=1)
    losses = made.report["losses"]
    result = neighbours_in_niche(made.items, niche) >= 0.9
    return bool(result), bool(np.mean(losses[-5:]) < 0.9 * losses[0])


def test_it_learns_planted_niches_from_noise(monkeypatch):
    assert learns(gnn._adam, monkeypatch) == (True, True)


def test_a_loop_whose_optimizer_does_nothing_fails_the_same_check(monkeypatch):
    still = lambda given, rate: torch.optim.SGD(given, lr=0.0)  # noqa: E731
    assert learns(still, monkeypatch) == (False, False)


def test_gradients_of_a_batch_are_those_worked_out_by_hand():
    """loss = sum over pairs of w * (log sum_k exp(u . n_k) / c_k - u . q), over the sum of w."""
    rng = np.random.default_rng(2)
    users, outputs = rng.normal(size=(3, 4)), rng.normal(size=(6, 4))
    targets = np.zeros((3, 6))
    targets[[0, 0, 2, 1], [1, 4, 0, 5]] = [1.0, 2.0, 0.5, 1.0]
    drawn, chances = np.array([2, 3, 4]), np.array([0.5, 1.0, 0.25])
    given = [torch.tensor(part, requires_grad=True) for part in (users, outputs)]
    loss = batch_loss(
        given[0],
        torch.from_numpy(targets) @ given[1],
        torch.from_numpy(targets.sum(axis=1)),
        given[1][torch.from_numpy(drawn)],
        torch.log(torch.from_numpy(chances)),
    )
    loss.backward()

    by_users, by_outputs, total = np.zeros_like(users), np.zeros_like(outputs), 0.0
    for u, i in np.argwhere(targets):
        w = targets[u, i] / targets.sum()
        raised = np.exp(outputs[drawn] @ users[u]) / chances
        total += w * (np.log(raised.sum()) - users[u] @ outputs[i])
        by_users[u] -= w * outputs[i]
        by_outputs[i] -= w * users[u]
        for item, share in zip(drawn, raised / raised.sum(), strict=True):
            by_users[u] += w * share * outputs[item]
            by_outputs[item] += w * share * users[u]
    assert loss.item() == pytest.approx(total)
    np.testing.assert_allclose(given[0].grad.numpy(), by_users, atol=1e-12)
    np.testing.assert_allclose(given[1].grad.numpy(), by_outputs, atol=1e-12)


def test_sampled_negatives_stand_for_all_items():
    """The sum over drawn items, each over its chance, is on average that over all of them."""
    graph, _ = niches()
    config = GnnConfig(**{**SMALL, "negatives": 30})
    edges = Edges.of(graph, torch.device("cpu"))
    rng = np.random.default_rng(5)
    values, rows = np.arange(1.0, 91.0), np.arange(10)
    sums = []
    for _ in range(2000):
        batch = Batch.of(edges, graph.user_items, rows, config, rng)
        sums.append((values[batch.negatives] / batch.chances).sum())
    error = np.std(sums) / len(sums) ** 0.5
    assert abs(np.mean(sums) - values.sum()) < 5 * error


def test_a_sum_of_item_vectors_over_a_history_is_near_its_users_vector():
    """That is how a history is asked for at serving time."""
    graph, _ = niches()
    made = GnnEmbedder(GnnConfig(**SMALL)).embed(graph, seed=1)
    summed = graph.user_items @ made.items
    unit = summed / np.linalg.norm(summed, axis=1, keepdims=True)
    assert (unit * made.users).sum(1).min() > 0.75


def test_a_layer_sends_gradients_the_way_it_sends_vectors():
    graph, _ = niches(groups=2, users=3, items=4)
    edges = Edges.of(graph, torch.device("cpu"))
    dense = edges.matrix.to_dense().double()
    assert torch.equal(dense, dense.T)
    start = np.random.default_rng(0).normal(size=(edges.counts[1], 3)).astype(np.float32)
    network = Network(start, edges, GnnConfig(dimensions=3, layers=2))
    pull = torch.randn(dense.shape[0], 3, generator=torch.Generator().manual_seed(1))
    (network(edges) * pull).sum().backward()
    plain = network.nodes.detach().double().requires_grad_()
    total = plain + dense @ plain + dense @ dense @ plain
    (torch.nn.functional.normalize(total, dim=1) * pull).sum().backward()
    torch.testing.assert_close(network.nodes.grad.double(), plain.grad, atol=1e-5, rtol=1e-4)


def steps_of(given, clears):
    """An optimizer that changes nothing and the gradients each step was given."""
    steps = []

    class Watching(torch.optim.SGD):
        def step(self, closure=None):
            steps.append([p.grad.clone() for group in self.param_groups for p in group["params"]])
            if clears:
                self.zero_grad(set_to_none=True)

    return Watching(given, lr=0.0), steps


def test_a_step_is_given_the_gradient_of_its_own_batch_alone():
    """Beside a loop whose optimizer forgets each step's gradient itself."""
    graph, _ = niches(groups=2, users=20, items=8)
    config = GnnConfig(**{**SMALL, "dimensions": 4, "batch": 10})
    edges = Edges.of(graph, torch.device("cpu"))
    start = np.random.default_rng(0).normal(size=(edges.counts[1], 4)).astype(np.float32)
    taken = []
    for clears in (False, True):
        network = Network(start, edges, config)
        optimizer, steps = steps_of(network.parameters(), clears)
        train_epoch(network, optimizer, edges, graph.user_items, config, (0, 1))
        taken.append(steps)
    assert len(taken[0]) == len(taken[1]) == 4
    for own, alone in zip(*taken, strict=True):
        for first, other in zip(own, alone, strict=True):
            torch.testing.assert_close(first, other)


def test_the_map_of_features_learns_from_each_batch_alone(monkeypatch):
    """2,100 items are three batches; beside a loop whose optimizer forgets by itself."""
    rng = np.random.default_rng(0)
    tags = sparse.csr_matrix(np.eye(7, dtype=np.float32)[np.arange(2100) % 7])
    targets = rng.normal(size=(2100, 3)).astype(np.float32)
    own = fit_inductive({"tags": tags}, targets, seed=1, epochs=2)

    class Forgetting(torch.optim.Adam):
        def step(self, closure=None):
            super().step(closure)
            self.zero_grad(set_to_none=True)

    monkeypatch.setattr(torch.optim, "Adam", Forgetting)
    alone = fit_inductive({"tags": tags}, targets, seed=1, epochs=2)
    np.testing.assert_allclose(own.vectors["tags"], alone.vectors["tags"], atol=1e-6)


def test_the_same_seed_gives_the_same_bytes_also_after_a_kill(tmp_path):
    graph, _ = niches()
    config = GnnConfig(**{**SMALL, "epochs": 4})
    whole = GnnEmbedder(config).embed(graph, seed=3)
    kept = tmp_path / "gnn.checkpoint"

    class Killed(Exception):
        pass

    def kill(_, part):
        if part >= 0.5:
            raise Killed

    with pytest.raises(Killed):
        GnnEmbedder(config, checkpoint=kept).embed(graph, seed=3, progress=kill)
    assert kept.exists()
    seen = []
    resumed = GnnEmbedder(config, checkpoint=kept).embed(
        graph, seed=3, progress=lambda _, part: seen.append(part)
    )
    assert seen == [0.75, 1.0]
    assert resumed.items.tobytes() == whole.items.tobytes()
    assert resumed.users.tobytes() == whole.users.tobytes()
    assert not kept.exists()


def test_a_damaged_or_foreign_checkpoint_is_left_alone(tmp_path):
    graph, _ = niches()
    kept = tmp_path / "gnn.checkpoint"
    kept.write_bytes(b"not a checkpoint")
    config = GnnConfig(**{**SMALL, "epochs": 1})
    made = GnnEmbedder(config, checkpoint=kept).embed(graph, seed=3)
    assert made.items.tobytes() == GnnEmbedder(config).embed(graph, seed=3).items.tobytes()


def test_it_stops_early_and_never_ends_below_its_start():
    graph, _ = niches()
    held = niches(seed=1)[0].user_items
    held = (held - held.multiply(graph.user_items)).tocsr()
    held.eliminate_zeros()
    config = GnnConfig(**{**SMALL, "epochs": 200, "patience": 2, "learning_rate": 0.5})
    made = GnnEmbedder(config, validation=held).embed(graph, seed=1)
    recalls = made.report["validation_recall"]
    assert made.report["epochs"] < 200
    assert max(recalls) == recalls[made.report["best_epoch"]] >= recalls[0]
    best = recall_at_20(made.users, made.item_outputs, graph.user_items, held)
    assert best == pytest.approx(max(recalls))


def test_items_never_seen_fall_into_their_niche_by_tags_domains_and_words():
    graph, niche = niches(items=40)
    words = sparse.csr_matrix(np.eye(6, dtype=np.float32)[niche])
    domains = sparse.csr_matrix(2 * np.eye(6, dtype=np.float32)[5 - niche])
    held = np.arange(len(niche)) % 10 == 0
    made = GnnEmbedder(GnnConfig(**SMALL)).embed(
        EmbeddingGraph(graph.user_items[:, ~held], graph.item_tags[~held]), seed=1
    )
    features = {"tags": graph.item_tags, "domains": domains, "words": words}
    learned = fit_inductive({k: part[~held] for k, part in features.items()}, made.items, seed=1)
    unit = made.items / np.linalg.norm(made.items, axis=1, keepdims=True)
    for kind, part in features.items():
        folded = [
            fold_in_item(learned, {kind: (row.indices, row.data)}, unit[:0])[kind].sum(axis=0)
            for row in part[held]
        ]
        nearest = np.argsort(-(np.array(folded) @ unit.T), axis=1)[:, :10]
        assert (niche[~held][nearest] == niche[held][:, None]).mean() >= 0.9


def test_users_are_folded_in_as_the_sums_of_their_histories():
    items = np.array([[1, 0, 0], [0, 2, 0], [0, 0, 1]], np.float32)
    histories = sparse.csr_array(np.array([[0, 0, 0], [1, 0.5, 0]], np.float32))
    np.testing.assert_allclose(fold_in_users(items, histories), [[0, 0, 0], [1, 1, 0]])


def test_a_graph_without_edges_and_bad_settings():
    empty = EmbeddingGraph(
        sparse.csr_matrix((2, 3), dtype=np.float32), sparse.csr_matrix((3, 0), dtype=np.float32)
    )
    made = GnnEmbedder(GnnConfig(**SMALL)).embed(empty, seed=0)
    assert (made.users.shape, made.items.shape, made.tags.shape) == ((2, 16), (3, 16), (0, 16))
    with pytest.raises(SettingError, match="temperature"):
        GnnConfig(temperature=0.0)
