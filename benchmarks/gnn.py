"""The graph network: quality on Gowalla compared with its own start, and time and memory by edges.

`--edges 10M` trains one epoch on generated data of that many edges and of a quarter of them, in
one run: `ratios` hold how time per edge grows. Without it, Gowalla is trained (or planted niches
where Gowalla is missing) and compared with its spectral start, the named baseline.
"""

import argparse
import resource
import time
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import sparse

from benchmarks.node2vec import GOWALLA, gowalla, planted, show
from embeddings.vectors.embedder import EmbeddingGraph, Embeddings
from embeddings.vectors.gnn_embedder import GnnEmbedder
from embeddings.vectors.gnn_network import GnnConfig

_UNITS = {"K": 1_000, "M": 1_000_000}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run one of the two parts; gives the table and the ratios."""
    parser = argparse.ArgumentParser(prog="bench gnn")
    parser.add_argument("--edges", type=count, default=None)
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments or [])
    rows, ratios = quality(options.epochs) if options.edges is None else scale(options.edges)
    if not options.json:
        show(rows)
    return {"bench": "gnn", "table": rows, "ratios": ratios}


def count(text: str) -> int:
    """10M, 500K or a plain number."""
    unit = _UNITS.get(text[-1:].upper(), 1)
    return int(float(text[:-1] if unit > 1 else text) * unit)


def quality(epochs: int | None) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The network and its own start, both alone; a tenth of train says when to stop."""
    fit, test = gowalla() if GOWALLA.is_dir() else planted()
    rng = np.random.default_rng(0)
    held = fit.copy()
    held.data = (rng.random(fit.nnz) < 0.1).astype(np.float32)
    kept = (fit - held).tocsr()
    for matrix in (held, kept):
        matrix.eliminate_zeros()
    graph = EmbeddingGraph(kept, sparse.csr_matrix((fit.shape[1], 0), dtype=np.float32))
    config = GnnConfig() if epochs is None else GnnConfig(epochs=epochs)
    begun, used = time.perf_counter(), time.process_time()
    looked = GnnEmbedder(config, validation=held).embed(graph, seed=1)
    best = looked.report["best_epoch"]
    embedding_graph = EmbeddingGraph(fit, graph.item_tags)
    # The number of epochs is settled on the held tenth; the vectors measured know all of train.
    made = trained(embedding_graph, max(1, best), GnnConfig())
    seconds, used = time.perf_counter() - begun, time.process_time() - used
    start = trained(embedding_graph, 0, GnnConfig())
    rows, of_both = [], []
    for name, vectors in ((f"start, {config.dimensions} dimensions", start), ("network", made)):
        recalls, gains = per_user(vectors, fit, test)
        of_both.append(recalls)
        rows.append(
            {"what": name, "recall": round(recalls.mean(), 4), "ndcg": round(gains.mean(), 4)}
        )
    gain = of_both[1] - of_both[0]
    spread = 1.96 * float(gain.std()) / len(gain) ** 0.5
    rows[1] |= {
        "seconds": round(seconds),
        "cpu_s": round(used),
        "best_epoch": best,
        "gain": f"{gain.mean():+.4f} ± {spread:.4f}",
    }
    return rows, {"start_recall": recalls[1].mean() / max(recalls[0].mean(), 1e-9)}


def trained(graph: EmbeddingGraph, epochs: int, config: GnnConfig) -> Embeddings:
    """The network's vectors after so many epochs; 0 gives its start."""
    if epochs:
        return GnnEmbedder(replace(config, epochs=epochs)).embed(graph, seed=1)
    # A rate too small to change a float: one epoch that leaves the start as it is.
    still = replace(config, epochs=1, learning_rate=1e-30)
    return GnnEmbedder(still).embed(graph, seed=1)


def per_user(made: Embeddings, seen: sparse.csr_matrix, held: sparse.csr_matrix) -> tuple[Any, Any]:
    """Recall@20 and NDCG@20 of each user with held pairs; every item ranked, seen ones masked."""
    outputs = made.items if made.item_outputs is None else made.item_outputs
    discounts = 1 / np.log2(np.arange(2, 22))
    recalls, gains = [], []
    rows = np.flatnonzero(np.diff(held.indptr))
    for begin in range(0, len(rows), 512):
        batch = rows[begin : begin + 512]
        scores = made.users[batch] @ outputs.T  # (b, d) @ (d, i) -> (b, i)
        known = seen[batch].tocoo()
        scores[known.row, known.col] = -np.inf
        top = np.argpartition(-scores, 19, axis=1)[:, :20]
        order = np.argsort(-np.take_along_axis(scores, top, 1), axis=1)
        top = np.take_along_axis(top, order, 1)
        wanted = held[batch]
        hits = np.asarray(wanted[np.arange(len(batch))[:, None], top].todense()) > 0
        counts = np.diff(wanted.indptr)
        recalls.append(hits.sum(1) / counts)
        gains.append(hits @ discounts / np.cumsum(discounts)[np.minimum(counts, 20) - 1])
    return np.concatenate(recalls), np.concatenate(gains)


def scale(edges: int) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """One epoch each on `edges` / 4 and `edges` generated edges, 25 a user."""
    rows, rates = [], []
    for size in (edges // 4, edges):
        rng = np.random.default_rng(0)
        users, items = max(1, size // 25), max(20, size // 100)
        drawn = (rng.random(size) ** 2 * items).astype(np.int64)
        matrix = sparse.csr_matrix(
            (np.ones(size, np.float32), (rng.integers(users, size=size), drawn)),
            shape=(users, items),
        )
        graph = EmbeddingGraph(matrix, sparse.csr_matrix((items, 0), dtype=np.float32))
        # A batch of a fixed share of the users: the number of steps does not grow with them.
        config = GnnConfig(dimensions=64, epochs=1, batch=max(1024, users // 64))
        begun = time.perf_counter()
        GnnEmbedder(config).embed(graph, seed=1)
        seconds = time.perf_counter() - begun
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        rates.append(seconds / size)
        rows.append(
            {
                "what": f"one epoch, start and export, {size:,} edges",
                "seconds": round(seconds, 1),
                "peak_GiB": round(peak, 2),
            }
        )
    return rows, {"seconds_per_edge": rates[1] / rates[0]}
