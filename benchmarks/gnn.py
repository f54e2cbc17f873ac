"""The graph network: quality on Gowalla against its own start, and time and memory by edges.

`--edges 10M` trains one epoch on generated data of that many edges and of a quarter of them, in
one run: `ratios` hold how time per edge grows. Without it, Gowalla is trained (or planted niches
where Gowalla is missing) and compared with its spectral start, the named baseline.
"""

import argparse
import resource
import time
from typing import Any

import numpy as np
from scipy import sparse

from benchmarks.node2vec import GOWALLA, gowalla, planted, recall, show
from embeddings.embedder import EmbeddingGraph
from embeddings.gnn_embedder import GnnConfig, GnnEmbedder, spectral_start

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
    """The network and its spectral start, both alone; a tenth of train stops training early."""
    fit, test = gowalla() if GOWALLA.is_dir() else planted()
    rng = np.random.default_rng(0)
    held = fit.copy()
    held.data = (rng.random(fit.nnz) < 0.1).astype(np.float32)
    kept = (fit - held).tocsr()
    for matrix in (held, kept):
        matrix.eliminate_zeros()
    graph = EmbeddingGraph(kept, sparse.csr_matrix((fit.shape[1], 0), dtype=np.float32))
    config = GnnConfig() if epochs is None else GnnConfig(epochs=epochs)
    begun = time.perf_counter()
    looked = GnnEmbedder(config, validation=held).embed(graph, seed=1)
    best = max(1, looked.report["best_epoch"])
    whole = EmbeddingGraph(fit, graph.item_tags)
    # The number of epochs is settled on the held tenth; the vectors measured know all of train.
    made = GnnEmbedder(GnnConfig(epochs=best)).embed(whole, seed=1)
    seconds = time.perf_counter() - begun
    start = spectral_start(whole, config.dimensions, 1)
    users, items, _ = whole.counts
    before = recall(start[:users], start[users : users + items], fit, test)
    after = recall(made.users, made.items, fit, test)
    rows = [
        {"what": f"spectral start, {config.dimensions} dimensions", "recall": round(before, 4)},
        {
            "what": f"network, {best} epochs, in all",
            "recall": round(after, 4),
            "seconds": round(seconds),
        },
    ]
    return rows, {"start_recall": after / max(before, 1e-9)}


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
