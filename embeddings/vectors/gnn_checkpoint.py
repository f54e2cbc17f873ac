"""The state of a training run, kept in a file so that a killed run can go on."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse

from embeddings import metrics
from embeddings.vectors.embedder import EmbeddingGraph
from embeddings.vectors.gnn_network import Edges, Network
from graph.arrays import F32


class TrainingRun:
    """The state of a training run: its epoch and its best vectors so far."""

    def __init__(self, file: Path | None, patience: int, fingerprint: str) -> None:
        """Begin at epoch 0; `fingerprint` names graph, settings and seed, see `fingerprint_of`."""
        self.file = file
        self.patience = patience
        self.fingerprint = fingerprint
        self.epoch = 0
        self.best_epoch = 0
        self.losses: list[float] = []
        self.recalls: list[float] = []
        self.best: tuple[F32, ...] = ()

    @property
    def stale(self) -> bool:
        """Whether the last `patience` epochs brought nothing better."""
        return bool(self.recalls) and self.epoch - self.best_epoch >= self.patience

    def look(
        self,
        network: Network,
        edges: Edges,
        graph: EmbeddingGraph,
        validation: sparse.csr_matrix | None,
    ) -> None:
        """Keep these vectors if they do best so far on the validation part, or there is none."""
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
        """Go on from a checkpoint of the same graph, config and seed; ignore any other."""
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


def fingerprint_of(settings: object, matrices: Sequence[sparse.csr_matrix | None]) -> str:
    """A text that differs when the settings or any entry of a matrix differ."""
    digest = hashlib.sha256(repr(settings).encode())
    for matrix in matrices:
        if matrix is not None:
            for array in (matrix.indptr, matrix.indices, matrix.data):
                digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
