"""Vectors from a graph network over users, items and tags, started from spectral vectors.

Propagation is linear as in LightGCN (He et al. 2020, arXiv 2002.02126): tags and related items
reach the items, items reach their users, each over a cached normalised sparse adjacency. As in
SimpleX (Mao et al. 2021, arXiv 2109.12613) nothing flows from users back into items, so one step
costs the edges of its own users and not those of the graph. The loss is a softmax over shared
sampled negatives (Wu et al. 2022, arXiv 2201.02327); we draw whole users, so that all pairs of a
user share one row of scores, and hide a part of the history while it is learned from.

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
from embeddings.inductive import InductiveMap, feature_scales
from graph.errors import SettingError

Optimizer = Callable[[list[torch.nn.Parameter], float], torch.optim.Optimizer]


@dataclass(frozen=True)
class GnnConfig:
    """How the network trains. The defaults are a first choice, not yet tuned on a validation part.

    `temperature` divides the cosine of user and item; `batch` counts users; `negatives` are
    shared by a whole batch; `hidden` is the part of a history left out while training; `patience`
    is how many looks at the validation part may pass without a better Recall@20.
    """

    dimensions: int = 128
    temperature: float = 0.1
    batch: int = 1024
    negatives: int = 4096
    hidden: float = 0.3
    learning_rate: float = 0.005
    epochs: int = 40
    patience: int = 4
    device: str = "auto"

    def __post_init__(self) -> None:
        if not 1 <= self.dimensions <= 1024:
            raise SettingError(f"dimensions must lie in 1 to 1024, not {self.dimensions}")
        if min(self.batch, self.negatives, self.epochs, self.patience) < 1:
            raise SettingError("batch, negatives, epochs and patience must be at least 1")
        if not 0 <= self.hidden < 1:
            raise SettingError(f"hidden is a part of the history, 0 to below 1, not {self.hidden}")
        if self.temperature <= 0 or self.learning_rate <= 0:
            raise SettingError("temperature and learning_rate must be positive")


def _adam(parameters: list[torch.nn.Parameter], rate: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=rate, fused=True)


@dataclass(frozen=True)
class GnnEmbedder:
    """A linear graph network over users, items and tags; bit-equal for a seed on one CPU thread.

    `validation` (u, i) holds the pairs that early stopping looks at, never part of the graph;
    without it all epochs run. `start` warm-starts from vectors of the same width, without it from
    the singular vectors of the normalised graph. `checkpoint` names a file in which every epoch
    is kept, so that a killed run goes on where it was; it is removed when training ends.
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
        """Unit vectors of users, items and tags. Raises SettingError when `start` does not fit.

        The best epoch on the validation part is returned, the start itself (epoch 0) included.
        """
        config = self.config
        device = _device(config.device)
        edges = Edges.of(graph, device)
        network = Network(self._start(graph, seed), graph.counts).to(device)
        optimizer = self.optimizer(list(network.parameters()), config.learning_rate)
        state = _State(self, graph, seed)
        state.resume(network, optimizer)
        if state.epoch == 0:
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
        users, items, _ = graph.counts
        best = state.best
        return Embeddings(
            best[:users],
            best[users : users + items],
            best[users + items :],
            None,
            {
                "config": asdict(config),
                "epochs": state.epoch,
                "best_epoch": state.best_epoch,
                "losses": state.losses,
                "validation_recall": state.recalls,
                "device": str(device),
            },
        )

    def _start(self, graph: EmbeddingGraph, seed: int) -> Vectors:
        if self.start is None:
            return spectral_start(graph, self.config.dimensions, seed)
        parts = [self.start.users, self.start.items, self.start.tags]
        expected = [(count, self.config.dimensions) for count in graph.counts]
        if [part.shape for part in parts] != expected:
            shapes = [part.shape for part in parts]
            raise SettingError(f"start has shapes {shapes}, the graph and config ask {expected}")
        return np.concatenate(parts).astype(np.float32)


@dataclass(frozen=True)
class Edges:
    """The graph's edges as normalised sparse matrices: (u, i) in scipy, the small ones in torch."""

    histories: sparse.csr_matrix  # (u, i)
    item_tags: torch.Tensor | None  # (i, t)
    item_items: torch.Tensor | None  # (i, i)
    device: torch.device

    @classmethod
    def of(cls, graph: EmbeddingGraph, device: torch.device) -> "Edges":
        """Both sides of each relation scaled by degree**-1/2; empty relations are None."""
        others = [
            None if part is None or part.nnz == 0 else to_torch(normalised(part)).to(device)
            for part in (graph.item_tags, graph.item_items)
        ]
        return cls(normalised(graph.user_items), others[0], others[1], device)


class Network(torch.nn.Module):
    """A vector for every node and one learned weight for each kind of edge."""

    def __init__(self, start: Vectors, counts: tuple[int, int, int]) -> None:
        super().__init__()
        users, items, _ = counts
        self.users = torch.nn.Parameter(torch.from_numpy(start[:users].copy()))
        self.items = torch.nn.Parameter(torch.from_numpy(start[users : users + items].copy()))
        self.tags = torch.nn.Parameter(torch.from_numpy(start[users + items :].copy()))
        self.weights = torch.nn.Parameter(torch.tensor([1.0, 0.3, 0.1]))  # history, tags, relations
        self.conv = SimpleConv(aggr="sum")

    def item_vectors(self, edges: Edges) -> torch.Tensor:
        """(i, d): an item's own vector with those of its tags and related items."""
        vectors = self.items
        if edges.item_tags is not None:
            vectors = vectors + self.weights[1] * self.conv(
                (self.tags, self.items), edges.item_tags
            )
        if edges.item_items is not None:
            related = self.conv((self.items, self.items), edges.item_items)
            vectors = vectors + self.weights[2] * related
        return vectors

    def user_vectors(
        self, items: torch.Tensor, rows: torch.Tensor, histories: torch.Tensor
    ) -> torch.Tensor:
        """(b, d) of the users `rows`: their own vector with those of their histories (b, i)."""
        own = self.users[rows]
        return own + self.weights[0] * self.conv((items, own), histories)

    def export(self, edges: Edges) -> Vectors:
        """(u + i + t, d) unit vectors of every node, with whole histories."""
        with torch.no_grad():
            items = self.item_vectors(edges)
            rows = torch.arange(self.users.shape[0], device=edges.device)
            histories = to_torch(edges.histories).to(edges.device)
            users = self.user_vectors(items, rows, histories)
            every = torch.cat([users, items, self.tags])
            vectors: Vectors = functional.normalize(every, dim=1, eps=1e-8).cpu().numpy()
        return vectors


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
    mean_weight = max(float(user_items.data.mean()), 1e-12)
    total = 0.0
    active = np.flatnonzero(np.diff(user_items.indptr))
    order = rng.permutation(active)
    for begin in range(0, len(order), config.batch):
        chosen = order[begin : begin + config.batch]
        pairs = user_items[chosen].tocoo()
        histories = edges.histories[chosen]
        histories.data *= (rng.random(histories.nnz) >= config.hidden) / (1 - config.hidden)
        negatives = rng.integers(user_items.shape[1], size=config.negatives)
        optimizer.zero_grad(set_to_none=True)
        items = network.item_vectors(edges)
        users = network.user_vectors(
            items, torch.from_numpy(chosen).to(edges.device), to_torch(histories).to(edges.device)
        )
        loss = batch_loss(
            users,
            items,
            torch.from_numpy(pairs.row.astype(np.int64)).to(edges.device),
            torch.from_numpy(pairs.col.astype(np.int64)).to(edges.device),
            torch.from_numpy(negatives).to(edges.device),
            torch.from_numpy((pairs.data / mean_weight).astype(np.float32)).to(edges.device),
            temperature=config.temperature,
        )
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total += float(loss.detach()) * pairs.nnz
    return total / max(user_items.nnz, 1)


def batch_loss(
    users: torch.Tensor,
    items: torch.Tensor,
    pair_users: torch.Tensor,
    pair_items: torch.Tensor,
    negatives: torch.Tensor,
    weights: torch.Tensor,
    *,
    temperature: float,
) -> torch.Tensor:
    """Mean weighted -log softmax of each pair's cosine among its own and the shared negatives.

    `users` (b, d) and `items` (i, d) of any length; `pair_users` rows of `users`, `pair_items`
    and `negatives` rows of `items`; `weights` one per pair.
    """
    subjects = functional.normalize(users, dim=1, eps=1e-8) / temperature  # (b, d)
    others = functional.normalize(items[negatives], dim=1, eps=1e-8)  # (k, d)
    against = torch.logsumexp(subjects @ others.T, 1)  # (b, d) @ (d, k) -> (b,)
    wanted = functional.normalize(items[pair_items], dim=1, eps=1e-8)  # (m, d)
    positive = (subjects[pair_users] * wanted).sum(1)  # (m,)
    return (weights * (torch.logaddexp(positive, against[pair_users]) - positive)).mean()


def spectral_start(graph: EmbeddingGraph, dimensions: int, seed: int) -> Vectors:
    """(u + i + t, d) start: singular vectors of the items' side against users and tags.

    Each is scaled by the root of its value. Randomised subspace iteration (Halko et al. 2011,
    arXiv 0909.4061), four rounds. Directions beyond the rank are small noise, open to training.
    """
    users, items, tags = graph.counts
    rng = np.random.default_rng(seed)
    start = rng.normal(0, 0.01, (users + items + tags, dimensions)).astype(np.float32)
    rank = min(dimensions, items, users + tags)
    if rank == 0 or graph.user_items.nnz + graph.item_tags.nnz == 0:
        return start
    others = np.r_[0:users, users + items : users + items + tags]
    block = sparse.vstack(
        [normalised(graph.user_items), 0.3 * normalised(sparse.csr_matrix(graph.item_tags.T))]
    ).tocsr()  # (u + t, i)
    basis = rng.normal(size=(items, min(rank + 16, items))).astype(np.float32)
    for _ in range(4):
        basis, _ = np.linalg.qr(block.T @ (block @ basis))
    left, values, right = np.linalg.svd(block @ basis, full_matrices=False)
    roots = np.sqrt(values[:rank])
    start[users : users + items, :rank] += (basis @ right[:rank].T) * roots
    start[others, :rank] += left[:, :rank] * roots
    scale = np.sqrt(np.mean(np.square(start), dtype=np.float64))
    return (start * (0.1 / max(scale, 1e-12))).astype(np.float32)


def normalised(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """Dr^-1/2 A Dc^-1/2 with weighted degrees of rows and columns; empty ones stay empty."""
    scales = []
    for axis in (1, 0):
        degrees = np.asarray(matrix.sum(axis=axis), dtype=np.float64).ravel()
        scales.append(sparse.diags(1.0 / np.sqrt(np.where(degrees > 0, degrees, 1.0))))
    return sparse.csr_matrix(scales[0] @ matrix @ scales[1], dtype=np.float32)


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
        self.best: Vectors = np.zeros((0, 0), dtype=np.float32)

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
            users, items, _ = graph.counts
            recall = recall_at_20(
                vectors[:users], vectors[users : users + items], graph.user_items, validation
            )
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
                    "best": torch.from_numpy(self.best),
                },
                target,
            )
            target.flush()
            os.fsync(target.fileno())
        aside.replace(self.file)

    def resume(self, network: Network, optimizer: torch.optim.Optimizer) -> None:
        """Take up a checkpoint of the same graph, config and seed; leave any other alone."""
        if self.file is None or not self.file.exists():
            return
        try:
            saved: dict[str, Any] = torch.load(self.file, weights_only=True)
        except Exception:  # noqa: BLE001 - whatever a damaged file raises, training starts anew
            return
        if saved.get("fingerprint") != self.fingerprint:
            return
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        self.epoch, self.best_epoch = saved["epoch"], saved["best_epoch"]
        self.losses, self.recalls = saved["losses"], saved["recalls"]
        self.best = saved["best"].numpy()


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
        digest.update(np.ascontiguousarray(embedder.start.items).data)
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
