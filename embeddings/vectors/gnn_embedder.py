"""Vectors from a graph network over users, items and tags, trained to rank by cosine.

LightGCN (He et al. 2020, arXiv 2002.02126): a vector for every node, propagated over the
normalised adjacency without weights or activations, and the mean of all layers. Three things
differ. Tags and relations are edges of the same graph. The loss is a softmax over the items,
estimated from negatives drawn by the root of their degree (Wu et al. 2022, arXiv 2201.02327), of
cosines over a temperature: it needs tens of epochs where BPR needs hundreds. And it starts from
the graph's singular vectors.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from scipy import sparse

from embeddings.vectors.embedder import EmbeddingGraph, Embeddings, Progress
from embeddings.vectors.gnn_checkpoint import TrainingRun, fingerprint_of
from embeddings.vectors.gnn_network import Edges, GnnConfig, Network, train_epoch
from embeddings.vectors.gnn_start import spectral_start
from graph.freed import reusing_freed

Optimizer = Callable[[list[torch.nn.Parameter], float], torch.optim.Optimizer]


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

    config: GnnConfig = field(default_factory=GnnConfig)
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
        read = [graph.user_items, graph.item_tags, graph.item_items, self.validation]
        state = TrainingRun(self.checkpoint, config.patience, fingerprint_of((config, seed), read))
        if not state.resume(network, optimizer):
            state.look(network, edges, graph, self.validation)
        while state.epoch < config.epochs and not state.stale and graph.user_items.nnz:
            with reusing_freed():
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


def _device(wanted: str) -> torch.device:
    if wanted != "auto":
        return torch.device(wanted)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
