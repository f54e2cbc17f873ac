"""Vectors from a graph network over users, items and tags, started from spectral vectors.

Propagation is linear as in LightGCN (He et al. 2020, arXiv 2002.02126): tags and related items
reach the items, items reach their users, each over a normalised sparse adjacency. As in SimpleX
(Mao et al. 2021, arXiv 2109.12613) nothing flows from users back into items, so one step costs
the edges of its own users and not those of the graph. We differ in three things. A user has no
vector of its own but its history's, so that anybody with a history is known. An item has an input
vector, read from histories, and an output vector, which ranks and whose length carries its
popularity. And a part of each history is hidden, and the softmax over the items (Wu et al. 2022,
arXiv 2201.02327, sampled) asks for just that part: what is learned is to go on from a history.

The only module that imports torch and torch_geometric, so the map for items never seen is trained
here as well; that makes it longer than four hundred lines.
"""

import hashlib
import os
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch.nn import functional
from torch_geometric.nn import HeteroConv, SimpleConv

from embeddings.embedder import EmbeddingGraph, Embeddings, Progress, Vectors
from embeddings.gnn_start import Tables, normalised, scaled, shifted_degrees, spectral_start
from embeddings.inductive import InductiveMap, feature_scales
from graph.errors import SettingError

Optimizer = Callable[[list[torch.nn.Parameter], float], torch.optim.Optimizer]


@dataclass(frozen=True)
class GnnConfig:
    """How the network trains; the start is chosen on a part of Gowalla's train, see decision 4.

    `shift` is added to all degrees, counted in edges of mean weight, before they normalise: it
    quiets users and items about whom little is known. The length of an output vector grows with
    (degree + shift) to the power `popularity`. `batch` counts users; `negatives` are shared by a
    batch; `hidden` is the part of a history that is hidden and asked for; `patience` is how many
    looks at the validation part may pass without a better Recall@20.
    """

    dimensions: int = 128
    shift: float = 10.0
    popularity: float = 0.4
    batch: int = 1024
    negatives: int = 4096
    hidden: float = 0.5
    learning_rate: float = 0.003
    epochs: int = 40
    patience: int = 4
    device: str = "auto"

    def __post_init__(self) -> None:
        if not 1 <= self.dimensions <= 1024:
            raise SettingError(f"dimensions must lie in 1 to 1024, not {self.dimensions}")
        if min(self.batch, self.negatives, self.epochs, self.patience) < 1:
            raise SettingError("batch, negatives, epochs and patience must be at least 1")
        if not 0 < self.hidden < 1:
            raise SettingError(f"hidden is a part of the history, between 0 and 1: {self.hidden}")
        if self.shift < 0 or self.learning_rate <= 0:
            raise SettingError("shift must not be negative, learning_rate must be positive")


def _adam(parameters: list[torch.nn.Parameter], rate: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=rate, fused=True)


@dataclass(frozen=True)
class GnnEmbedder:
    """A linear graph network over users, items and tags; bit-equal for a seed on one CPU thread.

    `validation` (u, i) holds the pairs that early stopping looks at, never part of the graph;
    without it all epochs run. `start` warm-starts from vectors of the same width (those of the
    last release, say), without it from the singular vectors of the normalised graph. `checkpoint`
    names a file in which every epoch is kept, so that a killed run goes on where it was; it is
    removed when training ends.
    """

    config: GnnConfig = GnnConfig()
    validation: sparse.csr_matrix | None = None
    start: Embeddings | None = None
    checkpoint: Path | None = None
    optimizer: Optimizer = _adam
    name: str = "gnn"

    def embed(
        self, graph: EmbeddingGraph, *, seed: int, progress: Progress | None = None
    ) -> Embeddings:
        """Vectors whose products rank: users by item_outputs; a sum of items by item_outputs.

        The best epoch on the validation part is returned, the start itself (epoch 0) included.
        Raises SettingError when `start` does not fit.
        """
        config = self.config
        device = _device(config.device)
        edges = Edges.of(graph, config, device)
        network = Network(self._start(graph, seed)).to(device)
        optimizer = self.optimizer(list(network.parameters()), config.learning_rate)
        state = _State(self, graph, seed)
        if not state.resume(network, optimizer):
            sharpen(network, edges, graph.user_items, config, seed)
            state.look(network, edges, graph, self.validation)
        while state.epoch < config.epochs and not state.stale and graph.user_items.nnz:
            loss = train_epoch(
                network, optimizer, edges, graph.user_items, config, (seed, state.epoch)
            )
            state.losses.append(loss)
            state.epoch += 1
            state.look(network, edges, graph, self.validation)
            state.save(network, optimizer)
            if progress is not None:
                progress("gnn", state.epoch / config.epochs)
        if self.checkpoint is not None:
            self.checkpoint.unlink(missing_ok=True)
        report = {
            "config": asdict(config),
            "epochs": state.epoch,
            "best_epoch": state.best_epoch,
            "losses": state.losses,
            "validation_recall": state.recalls,
            "device": str(device),
        }
        best_users, best_items, best_tags, best_outputs = state.best
        return Embeddings(best_users, best_items, best_tags, best_outputs, report)

    def _start(self, graph: EmbeddingGraph, seed: int) -> Tables:
        if self.start is None:
            return spectral_start(graph, self.config.dimensions, self.config.shift, seed)
        outputs = self.start.items if self.start.item_outputs is None else self.start.item_outputs
        parts = (self.start.items, outputs, self.start.tags)
        _, items, tags = graph.counts
        expected = [(count, self.config.dimensions) for count in (items, items, tags)]
        if [part.shape for part in parts] != expected:
            shapes = [part.shape for part in parts]
            raise SettingError(f"start has shapes {shapes}, the graph and config ask {expected}")
        # Exported vectors carry their degrees in their lengths; inside, the edges carry them.
        degrees = shifted_degrees(graph.user_items, self.config.shift)[1][:, None]
        return (
            scaled(parts[0] * np.sqrt(degrees)),
            scaled(parts[1] / degrees**self.config.popularity),
            scaled(parts[2]),
        )


@dataclass(frozen=True)
class Edges:
    """The graph's edges as normalised sparse matrices: (u, i) in scipy, the small ones in torch."""

    histories: sparse.csr_matrix  # (u, i)
    item_tags: torch.Tensor | None  # (i, t)
    item_items: torch.Tensor | None  # (i, i)
    lengths: torch.Tensor  # (i, 1): what popularity does to output vectors, 1 on average
    degrees: NDArray[np.float64]  # (i,): shifted
    device: torch.device

    @classmethod
    def of(cls, graph: EmbeddingGraph, config: GnnConfig, device: torch.device) -> "Edges":
        """Both sides of each relation scaled by degree**-1/2; empty relations are None."""
        others = [
            None if part is None or part.nnz == 0 else to_torch(normalised(part)).to(device)
            for part in (graph.item_tags, graph.item_items)
        ]
        degrees = shifted_degrees(graph.user_items, config.shift)[1]
        lengths = degrees**config.popularity
        lengths = (lengths / max(float(lengths.mean()), 1e-12)).astype(np.float32)
        histories = normalised(graph.user_items, config.shift)
        column = torch.from_numpy(lengths[:, None]).to(device)
        return cls(histories, others[0], others[1], column, degrees, device)


class Network(torch.nn.Module):
    """Two vectors for every item, one for every tag, and a learned weight for each kind of edge."""

    def __init__(self, start: Tables) -> None:
        super().__init__()
        self.items, self.outputs, self.tags = (
            torch.nn.Parameter(torch.from_numpy(part.copy())) for part in start
        )
        self.weights = torch.nn.Parameter(torch.tensor([[0.3, 0.1], [0.3, 0.1]]))
        self.sharpness = torch.nn.Parameter(torch.tensor(0.0))  # log of what scales the scores
        self.conv = SimpleConv(aggr="sum")

    def item_inputs(self, edges: Edges) -> torch.Tensor:
        """(i, d): what an item tells of a history it is in."""
        return self._with_neighbours(self.items, self.weights[0], edges)

    def item_outputs(self, edges: Edges) -> torch.Tensor:
        """(i, d): what a user's vector is compared with; longer for popular items."""
        return self._with_neighbours(self.outputs, self.weights[1], edges) * edges.lengths

    def user_vectors(self, items: torch.Tensor, histories: torch.Tensor) -> torch.Tensor:
        """(b, d) unit vectors: the propagated input vectors (i, d) of histories (b, i)."""
        # No user has a vector of its own to be updated; the conv asks for the target's rows.
        own = items.new_zeros((histories.shape[0], 1))
        return functional.normalize(self.conv((items, own), histories), dim=1, eps=1e-8)

    def _with_neighbours(
        self, own: torch.Tensor, weights: torch.Tensor, edges: Edges
    ) -> torch.Tensor:
        vectors = own
        if edges.item_tags is not None:
            vectors = vectors + weights[0] * self.conv((self.tags, own), edges.item_tags)
        if edges.item_items is not None:
            vectors = vectors + weights[1] * self.conv((own, own), edges.item_items)
        return vectors

    def export(self, edges: Edges) -> tuple[Vectors, Vectors, Vectors, Vectors]:
        """Users, items, tags and item outputs, with whole histories.

        Item vectors carry degree**-1/2, so that a plain sum over a history is its user's vector.
        """
        with torch.no_grad():
            items = self.item_inputs(edges)
            users = self.user_vectors(items, to_torch(edges.histories).to(edges.device))
            made = [users, items, self.tags, self.item_outputs(edges)]
        parts = [np.ascontiguousarray(part.detach().cpu().numpy()) for part in made]
        parts[1] = parts[1] / np.sqrt(edges.degrees, dtype=np.float64)[:, None]
        return parts[0], scaled(parts[1], 1.0), parts[2].copy(), scaled(parts[3], 1.0)


@dataclass(frozen=True)
class Batch:
    """Some users: what is left of their histories, what is hidden, and the sampled negatives."""

    histories: sparse.csr_matrix  # (b, i), normalised
    targets: sparse.csr_matrix  # (b, i), weights of the hidden pairs
    negatives: NDArray[np.int64]  # (k,)
    chances: NDArray[np.float32]  # (k,): how likely each negative was to be drawn

    @classmethod
    def of(
        cls,
        edges: Edges,
        user_items: sparse.csr_matrix,
        chosen: NDArray[np.int64],
        config: GnnConfig,
        rng: np.random.Generator,
    ) -> "Batch":
        """Hide each pair with chance `hidden`; draw items by the root of their degree."""
        histories, targets = edges.histories[chosen], user_items[chosen]
        hidden = rng.random(histories.nnz) < config.hidden
        histories.data = np.where(hidden, 0, histories.data).astype(np.float32)
        targets.data = np.where(hidden, targets.data, 0).astype(np.float32)
        shares = np.sqrt(edges.degrees)
        chances = np.minimum(1.0, config.negatives * shares / shares.sum())
        negatives = np.flatnonzero(rng.random(len(chances)) < chances)
        return cls(histories, targets, negatives, chances[negatives].astype(np.float32))

    def loss(self, network: Network, edges: Edges, log_scale: torch.Tensor) -> torch.Tensor:
        """The network's loss on these users, with scores times exp(log_scale)."""
        items, outputs = network.item_inputs(edges), network.item_outputs(edges)
        histories, targets = (
            to_torch(part).to(edges.device) for part in (self.histories, self.targets)
        )
        users = network.user_vectors(items, histories) * log_scale.exp()
        wanted = network.conv((outputs, users), targets)  # (b, i) @ (i, d) -> (b, d)
        rows = torch.from_numpy(self.negatives).to(edges.device)
        weights = np.asarray(self.targets.sum(axis=1), dtype=np.float32).ravel()
        return batch_loss(
            users,
            wanted,
            torch.from_numpy(weights).to(edges.device),
            outputs.index_select(0, rows),
            torch.from_numpy(np.log(self.chances)).to(edges.device),
        )


def batch_loss(
    users: torch.Tensor,
    wanted: torch.Tensor,
    weights: torch.Tensor,
    negatives: torch.Tensor,
    log_chances: torch.Tensor,
) -> torch.Tensor:
    """Mean -log softmax of the hidden items, each weighted; 0 when nothing is hidden.

    `users` (b, d); `wanted` (b, d) sums of the hidden items' outputs times their weights, whose
    sums are `weights` (b,); `negatives` (k, d) outputs drawn with the chances whose logs are
    `log_chances` (k,): each stands for 1 / chance items, so the sum below estimates that over
    all items without bias.
    """
    against = torch.logsumexp(users @ negatives.T - log_chances, 1)  # (b, d) @ (d, k) -> (b,)
    return (weights @ against - (users * wanted).sum()) / weights.sum().clamp(min=1e-12)


def train_epoch(
    network: Network,
    optimizer: torch.optim.Optimizer,
    edges: Edges,
    user_items: sparse.csr_matrix,
    config: GnnConfig,
    seed: tuple[int, int],
) -> float:
    """One pass over all users in an order drawn from `seed`; gives the mean loss of a pair.

    `user_items` (u, i) says by its weights how much each pair counts.
    """
    rng = np.random.default_rng(seed)
    total = weight = 0.0
    order = rng.permutation(np.flatnonzero(np.diff(user_items.indptr)))
    for begin in range(0, len(order), config.batch):
        batch = Batch.of(edges, user_items, order[begin : begin + config.batch], config, rng)
        optimizer.zero_grad(set_to_none=True)
        loss = batch.loss(network, edges, network.sharpness)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        pairs = float(batch.targets.sum())
        total += float(loss.detach()) * pairs
        weight += pairs
    return total / max(weight, 1e-12)


def sharpen(
    network: Network, edges: Edges, user_items: sparse.csr_matrix, config: GnnConfig, seed: int
) -> None:
    """Set the scale of the scores to the one, of a row of powers of two, with the least loss.

    Without it the first steps of training undo what the start knows.
    """
    rng = np.random.default_rng(seed)
    active = np.flatnonzero(np.diff(user_items.indptr))
    chosen = np.sort(rng.permutation(active)[:512])
    if len(chosen) == 0:
        return
    batch = Batch.of(edges, user_items, chosen, config, rng)
    with torch.no_grad():
        grid = torch.arange(-4, 12, device=edges.device) * 0.6931472
        losses = torch.stack([batch.loss(network, edges, scale) for scale in grid])
        network.sharpness.copy_(grid[losses.argmin()])


def to_torch(matrix: sparse.csr_matrix) -> torch.Tensor:
    """The same matrix as a torch CSR tensor, which PyG's convolutions take as adjacency."""
    return torch.sparse_csr_tensor(
        torch.from_numpy(matrix.indptr.astype(np.int64)),
        torch.from_numpy(matrix.indices.astype(np.int64)),
        torch.from_numpy(matrix.data.astype(np.float32)),
        size=matrix.shape,
        check_invariants=False,
    )


class _State:
    """Where a training run is: its epoch, its best vectors so far; kept in the checkpoint."""

    def __init__(self, embedder: GnnEmbedder, graph: EmbeddingGraph, seed: int) -> None:
        self.file = embedder.checkpoint
        self.patience = embedder.config.patience
        self.fingerprint = _fingerprint(embedder, graph, seed)
        self.epoch = 0
        self.best_epoch = 0
        self.losses: list[float] = []
        self.recalls: list[float] = []
        self.best: tuple[Vectors, ...] = ()

    @property
    def stale(self) -> bool:
        """Whether the last looks brought nothing better."""
        return bool(self.recalls) and self.epoch - self.best_epoch >= self.patience

    def look(
        self,
        network: Network,
        edges: Edges,
        graph: EmbeddingGraph,
        validation: sparse.csr_matrix | None,
    ) -> None:
        vectors = network.export(edges)
        if validation is not None:
            recall = recall_at_20(vectors[0], vectors[3], graph.user_items, validation)
            self.recalls.append(recall)
            if recall < max(self.recalls) or self.recalls.count(recall) > 1:
                return
        self.best, self.best_epoch = vectors, self.epoch

    def save(self, network: Network, optimizer: torch.optim.Optimizer) -> None:
        """Write aside, then rename: a kill leaves the old checkpoint or the new one."""
        if self.file is None:
            return
        aside = self.file.with_name(self.file.name + ".part")
        with aside.open("wb") as target:
            torch.save(
                {
                    "fingerprint": self.fingerprint,
                    "network": network.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "epoch": self.epoch,
                    "best_epoch": self.best_epoch,
                    "losses": self.losses,
                    "recalls": self.recalls,
                    "best": [torch.from_numpy(part) for part in self.best],
                },
                target,
            )
            target.flush()
            os.fsync(target.fileno())
        aside.replace(self.file)

    def resume(self, network: Network, optimizer: torch.optim.Optimizer) -> bool:
        """Take up a checkpoint of the same graph, config and seed; leave any other alone."""
        if self.file is None or not self.file.exists():
            return False
        try:
            saved: dict[str, Any] = torch.load(self.file, weights_only=True)
        except Exception:  # noqa: BLE001 - whatever a damaged file raises, training starts anew
            return False
        if saved.get("fingerprint") != self.fingerprint:
            return False
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        self.epoch, self.best_epoch = saved["epoch"], saved["best_epoch"]
        self.losses, self.recalls = saved["losses"], saved["recalls"]
        self.best = tuple(part.numpy() for part in saved["best"])
        return True


def recall_at_20(
    users: Vectors, items: Vectors, seen: sparse.csr_matrix, held: sparse.csr_matrix
) -> float:
    """Mean Recall@20 of at most 4,000 evenly chosen users with held pairs; seen items masked."""
    rows = np.flatnonzero(np.diff(held.indptr))
    rows = rows[:: max(1, len(rows) // 4000)]
    top = min(20, items.shape[0])
    recalls: list[float] = []
    for begin in range(0, len(rows), 512):
        batch = rows[begin : begin + 512]
        scores: NDArray[np.float32] = users[batch] @ items.T  # (b, d) @ (d, i) -> (b, i)
        known = seen[batch].tocoo()
        scores[known.row, known.col] = -np.inf
        best = np.argpartition(-scores, top - 1, axis=1)[:, :top]
        wanted: Any = held[batch]
        hits = np.asarray(wanted[np.arange(len(batch))[:, None], best].todense()) > 0
        recalls.extend((hits.sum(1) / np.diff(wanted.indptr)).tolist())
    return float(np.mean(recalls)) if recalls else 0.0


def _fingerprint(embedder: GnnEmbedder, graph: EmbeddingGraph, seed: int) -> str:
    digest = hashlib.sha256(repr((embedder.config, seed)).encode())
    matrices = [graph.user_items, graph.item_tags, graph.item_items, embedder.validation]
    for matrix in matrices:
        if matrix is not None:
            for array in (matrix.indptr, matrix.indices, matrix.data):
                digest.update(np.ascontiguousarray(array).data)
    if embedder.start is not None:
        for part in (embedder.start.items, embedder.start.item_outputs, embedder.start.tags):
            if part is not None:
                digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()


def _device(wanted: str) -> torch.device:
    if wanted != "auto":
        return torch.device(wanted)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fit_inductive(
    tags: sparse.csr_matrix,
    words: sparse.csr_matrix,
    targets: Vectors,
    *,
    seed: int,
    epochs: int = 30,
    temperature: float = 0.1,
    learning_rate: float = 0.02,
) -> InductiveMap:
    """Learn to tell an item's vector (i, d) from its tags (i, t) and title words (i, w) alone.

    Domains count as further tags. A heterogeneous network of one linear layer: an item's own
    vector must score highest, among those of its batch, against what its features add up to.
    Items without features or without a target are left out.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    dimensions = targets.shape[1]
    tables = torch.nn.ParameterDict(
        {
            name: torch.nn.Parameter(0.1 * torch.randn(part.shape[1], dimensions))
            for name, part in (("tag", tags), ("word", words))
        }
    )
    relations = {("tag", "on", "item"): normalised(tags), ("word", "in", "item"): normalised(words)}
    with warnings.catch_warnings():
        # Tags and words are only ever read: that nothing flows back into them is meant.
        warnings.filterwarnings("ignore", "There exist node types", UserWarning)
        conv = HeteroConv({kind: SimpleConv(aggr="sum") for kind in relations}, aggr="sum")
    optimizer = torch.optim.Adam(list(tables.parameters()), lr=learning_rate)
    goal = functional.normalize(torch.from_numpy(targets), dim=1, eps=1e-8)  # (i, d)
    featured = np.diff(tags.indptr) + np.diff(words.indptr) > 0
    known = np.flatnonzero(featured & (np.abs(targets).sum(1) > 0))
    for _ in range(epochs):
        order = rng.permutation(known)
        for begin in range(0, len(order), 1024):
            rows = order[begin : begin + 1024]
            edges = {kind: to_torch(matrix[rows]) for kind, matrix in relations.items()}
            nodes = {"tag": tables["tag"], "word": tables["word"], "item": goal[rows]}
            optimizer.zero_grad(set_to_none=True)
            made = functional.normalize(conv(nodes, edges)["item"], dim=1, eps=1e-8)
            scores = made @ goal[rows].T / temperature  # (b, d) @ (d, b) -> (b, b)
            loss = functional.cross_entropy(scores, torch.arange(len(rows)))
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    with torch.no_grad():
        arrays = {name: table.numpy().copy() for name, table in tables.items()}
    return InductiveMap(arrays["tag"], arrays["word"], feature_scales(tags), feature_scales(words))
