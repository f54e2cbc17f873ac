"""The graph network of `gnn_embedder`: its edges, its layers, its loss, one pass of training."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch.nn import functional
from torch_geometric.nn import SimpleConv

from embeddings.vectors.embedder import EmbeddingGraph, adjacency
from embeddings.vectors.gnn_start import normalised, scaled
from graph.arrays import F32, F64, I64
from graph.errors import SettingError

TAG_WEIGHT, RELATION_WEIGHT = 0.3, 0.1
"""Weight of normalised edges between items and tags, and between items, beside users' edges."""


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
