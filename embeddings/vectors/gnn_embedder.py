"""Vectors from a graph network over users, items and tags, trained to rank by cosine.

LightGCN (He et al. 2020, arXiv 2002.02126): a vector for every node, propagated over the
normalised adjacency without weights or activations, and the mean of all layers. Three things
differ. Tags and relations are edges of the same graph. The loss is a softmax over the items,
estimated from negatives drawn by the root of their degree (Wu et al. 2022, arXiv 2201.02327), of
cosines over a temperature: it needs tens of epochs where BPR needs hundreds. And it starts from
the graph's singular vectors.

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
from scipy import sparse
from torch.nn import functional
from torch_geometric.nn import HeteroConv, SimpleConv

from embeddings import metrics
from embeddings.vectors.embedder import EmbeddingGraph, Embeddings, Progress, adjacency
from embeddings.vectors.gnn_start import normalised, scaled, spectral_start
from embeddings.vectors.inductive import Features, InductiveMap, feature_scales
from graph.arrays import F32, F64, I64
from graph.errors import SettingError

Optimizer = Callable[[list[torch.nn.Parameter], float], torch.optim.Optimizer]

TAG_WEIGHT, RELATION_WEIGHT = 0.3, 0.1
"""Of normalised edges between items and tags, and between items, beside those of users."""


@dataclass(frozen=True)
class GnnConfig:
    """How the network trains; chosen on a tenth of Gowalla's train part, see decision 4.

    `batch` counts users, and is never less than a 16th of them, so that an epoch has at most 16
    steps and costs time in proportion to the edges. `negatives` are shared by a batch;
    `temperature` divides the cosines. Cosines know little of popularity, and what people do next
    is more popular than a random part of what they did: the vectors that rank are as long as the
    item's degree to the power `popularity`. `patience` is how many epochs may pass without a
    better Recall@20 on the validation part. `threads` of the CPU, 0: as many as torch likes.
    """

    dimensions: int = 128
    layers: int = 3
    batch: int = 2048
    negatives: int = 4096
    temperature: float = 0.1
    popularity: float = 0.125
    learning_rate: float = 0.01
    epochs: int = 40
    patience: int = 4
    threads: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        if not 1 <= self.dimensions <= 1024:
            raise SettingError(f"dimensions must lie in 1 to 1024, not {self.dimensions}")
        if min(self.layers, self.batch, self.negatives, self.epochs, self.patience) < 1:
            raise SettingError("layers, batch, negatives, epochs, patience must be at least 1")
        if self.temperature <= 0 or self.learning_rate <= 0:
            raise SettingError("temperature and learning_rate must be positive")


def _adam(parameters: list[torch.nn.Parameter], rate: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=rate, fused=True)


@dataclass(frozen=True)
class GnnEmbedder:
    """A linear graph network over users, items and tags; bit-equal for a seed on one CPU thread.

    `validation` (u, i) holds the pairs that early stopping looks at, never part of the graph;
    without it all epochs run. It begins with the singular vectors of the normalised graph.
    `checkpoint` names a file in which every epoch is kept, so that a killed run goes on where it
    was; it is removed when training ends.
    """

    config: GnnConfig = GnnConfig()
    validation: sparse.csr_matrix | None = None
    checkpoint: Path | None = None
    optimizer: Optimizer = _adam
    name: str = "gnn"

    def embed(
        self, graph: EmbeddingGraph, *, seed: int, progress: Progress | None = None
    ) -> Embeddings:
        """Vectors whose products rank: users by item_outputs; a sum of items by item_outputs.

        The best epoch on the validation part is returned, the start itself (epoch 0) included.
        """
        config = self.config
        device = _device(config.device)
        if config.threads:
            torch.set_num_threads(config.threads)
        edges = Edges.of(graph, device)
        network = Network(spectral_start(graph, config.dimensions, seed), edges, config).to(device)
        optimizer = self.optimizer(list(network.parameters()), config.learning_rate)
        state = _State(self, graph, seed)
        if not state.resume(network, optimizer):
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


@dataclass(frozen=True)
class Edges:
    """The whole graph as one symmetric normalised matrix over its nodes [users | items | tags]."""

    matrix: torch.Tensor  # (n, n)
    counts: tuple[int, int, int]
    degrees: F64  # (i,): of items, over users alone; 1 where that is nothing
    device: torch.device

    @classmethod
    def of(cls, graph: EmbeddingGraph, device: torch.device) -> "Edges":
        """Each relation is scaled by degree**-1/2 on both sides by itself, so that an item with
        many tags hears its users as loudly as one with few.
        """
        related = graph.item_items
        if related is not None:
            related = RELATION_WEIGHT / 2 * normalised(sparse.csr_matrix(related + related.T))
        matrix = adjacency(
            EmbeddingGraph(
                normalised(graph.user_items), TAG_WEIGHT * normalised(graph.item_tags), related
            )
        )
        degrees = np.asarray(graph.user_items.sum(axis=0), np.float64).ravel()
        degrees = np.where(degrees > 0, degrees, 1.0)
        return cls(to_torch(matrix).to(device), graph.counts, degrees, device)


class Network(torch.nn.Module):
    """A vector for every node, and the mean of itself and what its neighbours send, layer by
    layer.
    """

    def __init__(self, items: F32, edges: Edges, config: GnnConfig) -> None:
        """Users and tags begin with what the items (i, d) send them."""
        super().__init__()
        self.layers, self.popularity = config.layers, config.popularity
        self.conv = SimpleConv(aggr="sum")
        users, count, tags = edges.counts
        own = torch.zeros((users + count + tags, items.shape[1]))
        own[users : users + count] = torch.from_numpy(scaled(items))
        with torch.no_grad():
            sent = self.conv((own, own), edges.matrix.cpu())
        for part in (slice(0, users), slice(users + count, None)):
            own[part] = torch.from_numpy(scaled(sent[part].numpy()))
        self.nodes = torch.nn.Parameter(own)

    def forward(self, edges: Edges) -> torch.Tensor:
        """(n, d) unit vectors of all nodes."""
        layer = total = self.nodes
        for _ in range(self.layers):
            layer = _Propagate.apply(layer, edges.matrix, self.conv)
            total = total + layer
        return functional.normalize(total, dim=1, eps=1e-8)

    def export(self, edges: Edges) -> tuple[F32, F32, F32, F32]:
        """Users, items as a history reads them, tags, and items as they are ranked.

        The third is times degree**-1/2: a plain sum of them over a history is near its user's
        vector, for users who were trained and for those nobody has seen.
        """
        with torch.no_grad():
            made = self(edges).cpu().numpy()
        users, items, _ = edges.counts
        own = made[users : users + items]
        read = own / np.sqrt(edges.degrees)[:, None]
        ranked = own * (1 + edges.degrees[:, None]) ** self.popularity
        parts = (made[:users], scaled(read, 1.0), made[users + items :], scaled(ranked, 1.0))
        copied = [np.array(part, np.float32, order="C") for part in parts]
        return copied[0], copied[1], copied[2], copied[3]


class _Propagate(torch.autograd.Function):
    """One layer; since the matrix is its own transpose, the gradient is one more propagation."""

    @staticmethod
    def forward(
        ctx: Any, nodes: torch.Tensor, matrix: torch.Tensor, conv: SimpleConv
    ) -> torch.Tensor:
        ctx.matrix, ctx.conv = matrix, conv
        sent: torch.Tensor = conv((nodes, nodes), matrix)
        return sent

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        gradient = grads[0].contiguous()
        return ctx.conv((gradient, gradient), ctx.matrix), None, None


@dataclass(frozen=True)
class Batch:
    """Some users, what they chose, and the sampled negatives."""

    users: I64  # (b,)
    targets: sparse.csr_matrix  # (b, i), how much each pair counts
    negatives: I64  # (k,)
    chances: F32  # (k,): how likely each negative was to be drawn

    @classmethod
    def of(
        cls,
        edges: Edges,
        user_items: sparse.csr_matrix,
        chosen: I64,
        config: GnnConfig,
        rng: np.random.Generator,
    ) -> "Batch":
        """Draw items by the root of their degree."""
        shares = np.sqrt(edges.degrees)
        chances = np.minimum(1.0, config.negatives * shares / shares.sum())
        negatives = np.flatnonzero(rng.random(len(chances)) < chances)
        return cls(chosen, user_items[chosen], negatives, chances[negatives].astype(np.float32))

    def loss(self, network: Network, edges: Edges, temperature: float) -> torch.Tensor:
        """The network's loss on these users."""
        nodes = network(edges)
        first, items, _ = edges.counts
        users, drawn = (
            nodes.index_select(0, torch.from_numpy(rows).to(edges.device))
            for rows in (self.users, self.negatives + first)
        )
        outputs = nodes[first : first + items]
        users = users / temperature
        wanted = network.conv((outputs, users), to_torch(self.targets).to(edges.device))
        weights = np.asarray(self.targets.sum(axis=1), dtype=np.float32).ravel()
        return batch_loss(
            users,
            wanted,  # (b, i) @ (i, d) -> (b, d)
            torch.from_numpy(weights).to(edges.device),
            drawn,
            torch.from_numpy(np.log(self.chances)).to(edges.device),
        )


def batch_loss(
    users: torch.Tensor,
    wanted: torch.Tensor,
    weights: torch.Tensor,
    negatives: torch.Tensor,
    log_chances: torch.Tensor,
) -> torch.Tensor:
    """Mean -log softmax of the chosen items, each weighted; 0 when nothing was chosen.

    `users` (b, d), already over the temperature; `wanted` (b, d) sums of the chosen items'
    outputs times their weights, whose sums are `weights` (b,); `negatives` (k, d) outputs drawn
    with the chances whose logs are `log_chances` (k,): each stands for 1 / chance items, so the
    sum below estimates that over all items without bias.
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
    size = max(config.batch, -(-len(order) // 16))
    for begin in range(0, len(order), size):
        batch = Batch.of(edges, user_items, order[begin : begin + size], config, rng)
        optimizer.zero_grad(set_to_none=True)
        loss = batch.loss(network, edges, config.temperature)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        pairs = float(batch.targets.sum())
        total += float(loss.detach()) * pairs
        weight += pairs
    return total / max(weight, 1e-12)


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
        self.best: tuple[F32, ...] = ()

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
        """Keep these vectors when the validation part likes them best so far, or there is none."""
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


def recall_at_20(users: F32, items: F32, seen: sparse.csr_matrix, held: sparse.csr_matrix) -> float:
    """Mean Recall@20 of at most 4,000 evenly chosen users with held pairs; seen items masked."""
    rows = np.flatnonzero(np.diff(held.indptr))
    rows = rows[:: max(1, len(rows) // 4000)]
    top = min(20, items.shape[0])
    recalls: list[float] = []
    for begin in range(0, len(rows), 512):
        batch = rows[begin : begin + 512]
        scores: F32 = users[batch] @ items.T  # (b, d) @ (d, i) -> (b, i)
        known = seen[batch].tocoo()
        scores[known.row, known.col] = -np.inf
        best = np.argpartition(-scores, top - 1, axis=1)[:, :top]
        wanted: Any = held[batch]
        hits = metrics.hits(best.astype(np.int32), wanted)
        recalls.extend(metrics.recall(hits, np.diff(wanted.indptr), top).tolist())
    return float(np.mean(recalls)) if recalls else 0.0


def _fingerprint(embedder: GnnEmbedder, graph: EmbeddingGraph, seed: int) -> str:
    digest = hashlib.sha256(repr((embedder.config, seed)).encode())
    matrices = [graph.user_items, graph.item_tags, graph.item_items, embedder.validation]
    for matrix in matrices:
        if matrix is not None:
            for array in (matrix.indptr, matrix.indices, matrix.data):
                digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _device(wanted: str) -> torch.device:
    if wanted != "auto":
        return torch.device(wanted)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fit_inductive(
    features: Features,
    targets: F32,
    *,
    seed: int,
    epochs: int = 30,
    steps: int = 2000,
    temperature: float = 0.1,
    learning_rate: float = 0.02,
    penalty: float = 100.0,
) -> InductiveMap:
    """Learn to tell an item's vector (i, d) from its features alone, by kind (i, f).

    A heterogeneous network of one linear layer, with a type of node for each kind: an item's own
    vector must score highest, among those of its batch, against what its features add up to.
    Items without features or without a target are left out. At most `epochs`, of batches of
    1,024, and about `steps` of these; `penalty` is on squared entries. `inductive.fit_ridge`
    places new items better and is what releases hold; `./run bench cold` compares them.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    dimensions = targets.shape[1]
    tables = torch.nn.ParameterDict(
        {
            kind: torch.nn.Parameter(0.01 * torch.randn(part.shape[1], dimensions))
            for kind, part in features.items()
        }
    )
    relations = {(kind, "of", "item"): normalised(part) for kind, part in features.items()}
    with warnings.catch_warnings():
        # Features are only ever read: that nothing flows back into them is meant.
        warnings.filterwarnings("ignore", "There exist node types", UserWarning)
        conv = HeteroConv({kind: SimpleConv(aggr="sum") for kind in relations}, aggr="sum")
    optimizer = torch.optim.Adam(list(tables.parameters()), lr=learning_rate)
    goal = functional.normalize(torch.from_numpy(targets), dim=1, eps=1e-8)  # (i, d)
    featured = sum(np.diff(part.indptr) for part in features.values()) > 0
    known = np.flatnonzero(featured & (np.abs(targets).sum(1) > 0))
    for _ in range(min(epochs, max(1, steps * 1024 // max(len(known), 1)))):
        order = rng.permutation(known)
        for begin in range(0, len(order), 1024):
            rows = order[begin : begin + 1024]
            edges = {kind: to_torch(matrix[rows]) for kind, matrix in relations.items()}
            nodes = {**tables, "item": goal[rows]}
            optimizer.zero_grad(set_to_none=True)
            made = functional.normalize(conv(nodes, edges)["item"], dim=1, eps=1e-8)
            scores = made @ goal[rows].T / temperature  # (b, d) @ (d, b) -> (b, b)
            loss = functional.cross_entropy(scores, torch.arange(len(rows)))
            loss = loss + penalty / len(known) * sum(t.square().sum() for t in tables.values())
            loss.backward()
            optimizer.step()
    return InductiveMap(
        {
            kind: feature_scales(part)[:, None] * tables[kind].detach().numpy()
            for kind, part in features.items()
        }
    )
