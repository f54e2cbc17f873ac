"""node2vec against gensim, the node2vec package and PecanPy: same machine, run, width, threads.

Rows say what each took; `ratios` hold ours divided by the baseline. Data: Gowalla's train part
where it lies beside the project, else planted niches (then recall is not comparable with others).
"""

import argparse
import gzip
import importlib.util
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import sparse

from embeddings.vectors.embedder import EmbeddingGraph, adjacency
from embeddings.vectors.node2vec_embedder import Node2VecConfig, Node2VecEmbedder, visit_frequencies
from embeddings.vectors.skipgram import train
from embeddings.vectors.walks import WalkConfig, prepare, walk_blocks

GOWALLA = Path(__file__).resolve().parents[2] / "shared" / "data" / "gowalla-lightgcn"


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run all parts; `--quick` leaves out the full training, `--threads` is 2 by default."""
    parser = argparse.ArgumentParser(prog="bench node2vec")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dimensions", type=int, default=64)
    parser.add_argument("--window", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments or [])
    fit, test = gowalla() if GOWALLA.is_dir() else planted()
    graph = EmbeddingGraph(fit, sparse.csr_matrix((fit.shape[1], 0), dtype=np.float32))
    rows = list(walk_rows(graph, options.threads))
    trained, ratios = skipgram_rows(graph, test, options)
    rows += trained
    packaged, faster = package_rows(options)
    rows += packaged
    ratios |= faster
    if not options.quick:
        rows.append(full_row(graph, test, options))
    if not options.json:
        show(rows)
    data = "gowalla-lightgcn" if GOWALLA.is_dir() else "planted niches"
    return {"bench": "node2vec", "data": data, "table": rows, "ratios": ratios}


def walk_rows(graph: EmbeddingGraph, threads: int) -> Iterator[dict[str, Any]]:
    """Steps per second over weighted edges, for p = q = 1 and for p = 2, q = .5."""
    rng = np.random.default_rng(0)
    weighted = graph.user_items.copy()
    weighted.data = rng.integers(1, 6, weighted.nnz).astype(np.float32)
    prepared = prepare(adjacency(EmbeddingGraph(weighted, graph.item_tags)))
    for p, q in ((1.0, 1.0), (2.0, 0.5)):
        config = WalkConfig(10, 40, p, q)
        next(walk_blocks(prepared, config, seed=0, block=64))  # compiles
        begun, steps = time.perf_counter(), 0
        for block in walk_blocks(prepared, config, seed=1, threads=threads, block=65536):
            steps += block.size
        rate = steps / (time.perf_counter() - begun)
        yield {"what": f"ours: walks p={p} q={q}", "steps_per_s": round(rate)}


def skipgram_rows(
    graph: EmbeddingGraph, test: sparse.csr_matrix, options: argparse.Namespace
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Ours and gensim's corpus_file on the same walks; writing the file does not count."""
    import gensim

    matrix = adjacency(graph)
    users, items, _ = graph.counts
    prepared, walks = prepare(matrix), WalkConfig(10, 20)
    blocks = list(walk_blocks(prepared, walks, seed=1, threads=options.threads))
    tokens = int(sum(block.size for block in blocks))
    defaults = Node2VecConfig(dimensions=options.dimensions, window=options.window)
    config = defaults.skipgram_config()
    arguments = (visit_frequencies(matrix), tokens, config)
    train(blocks[:1], *arguments, seed=1, threads=options.threads)  # compiles
    begun = time.perf_counter()
    inputs, outputs = train(blocks, *arguments, seed=1, threads=options.threads)
    ours = tokens / (time.perf_counter() - begun)
    own = recall(inputs[:users], outputs[users : users + items], graph.user_items, test)
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "walks.txt"
        with corpus.open("w") as target:
            for block in blocks:
                np.savetxt(target, block, fmt="%d")
        model = gensim.models.Word2Vec(
            vector_size=options.dimensions,
            window=options.window,
            negative=5,
            sg=1,
            min_count=0,
            workers=options.threads,
            seed=1,
            epochs=1,
        )
        model.build_vocab(corpus_file=str(corpus))
        begun = time.perf_counter()
        model.train(
            corpus_file=str(corpus),
            total_words=tokens,
            total_examples=model.corpus_count,
            epochs=1,
        )
        theirs = tokens / (time.perf_counter() - begun)
    keys = np.array([int(key) for key in model.wv.index_to_key])
    both = np.zeros((2, users + items, options.dimensions), dtype=np.float32)
    both[0][keys], both[1][keys] = model.wv.vectors, model.syn1neg
    best = max(
        recall(both[0][:users], side[users : users + items], graph.user_items, test)
        for side in both
    )
    rows = [
        {"what": "ours: skip-gram", "tokens_per_s": round(ours), "recall": round(own, 4)},
        {
            "what": "gensim corpus_file (better of its two scorings)",
            "tokens_per_s": round(theirs),
            "recall": round(best, 4),
        },
    ]
    return rows, {"gensim_tokens": ours / theirs, "gensim_recall": own / max(best, 1e-9)}


def package_rows(
    options: argparse.Namespace,
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Whole runs of both engines on a graph small enough for the package; PecanPy if installed."""
    fit, test = planted(users=1000, items=500)
    graph = EmbeddingGraph(fit, sparse.csr_matrix((fit.shape[1], 0), dtype=np.float32))
    rows, took = [], []
    for engine in ("fast", "package"):
        walks = 50 if engine == "fast" else 10  # gensim goes over its walks five times
        config = Node2VecConfig(
            options.dimensions, walks, 20, options.window, contexts="all", engine=engine
        )
        begun = time.perf_counter()
        made = Node2VecEmbedder(config).embed(graph, seed=1)
        took.append(time.perf_counter() - begun)
        rows.append(
            {
                "what": f'engine "{engine}", {fit.nnz:,} edges, walks and training',
                "seconds": round(took[-1], 2),
                "recall": round(recall(made.users, made.item_outputs, fit, test), 4),
            }
        )
    ratios = {"package_speed": took[1] / took[0]}
    if importlib.util.find_spec("pecanpy") is None:
        rows.append(
            {"what": "PecanPy: not installed, not run (pip install --no-deps pecanpy nptyping)"}
        )
        return rows, ratios
    ours, theirs = pecanpy_steps(options.threads)
    rows.append({"what": "ours: walks p=2 q=.5, planted niches", "steps_per_s": round(ours)})
    rows.append({"what": "PecanPy SparseOTF, the same", "steps_per_s": round(theirs)})
    return rows, ratios | {"pecanpy_steps": ours / theirs}


def pecanpy_steps(threads: int) -> tuple[float, float]:
    """Steps per second of ours and of PecanPy's sparse on-the-fly walker, on one graph."""
    from pecanpy.pecanpy import SparseOTF

    fit, _ = planted()
    none = sparse.csr_matrix((fit.shape[1], 0), dtype=np.float32)
    matrix = adjacency(EmbeddingGraph(fit, none))
    ids = [str(node) for node in range(matrix.shape[0])]
    walker = SparseOTF.from_mat(matrix.toarray(), ids, p=2.0, q=0.5, workers=threads)
    walker.simulate_walks(1, 2)  # compiles
    begun = time.perf_counter()
    made = walker.simulate_walks(10, 40)
    theirs = sum(map(len, made)) / (time.perf_counter() - begun)
    prepared, config = prepare(matrix), WalkConfig(10, 40, 2.0, 0.5)
    next(walk_blocks(prepared, config, seed=0, block=64))  # compiles
    begun, steps = time.perf_counter(), 0
    for block in walk_blocks(prepared, config, seed=1, threads=threads, block=65536):
        steps += block.size
    return steps / (time.perf_counter() - begun), theirs


def full_row(
    graph: EmbeddingGraph, test: sparse.csr_matrix, options: argparse.Namespace
) -> dict[str, Any]:
    """The embedder's own defaults: user vectors times item output vectors, alone."""
    begun = time.perf_counter()
    made = Node2VecEmbedder(Node2VecConfig(threads=options.threads)).embed(graph, seed=1)
    seconds = time.perf_counter() - begun
    quality = recall(made.users, made.item_outputs, graph.user_items, test)
    return {
        "what": "ours: defaults (published Item2Vec .1326)",
        "seconds": round(seconds, 1),
        "recall": round(quality, 4),
    }


def recall(users: Any, items: Any, seen: sparse.csr_matrix, held: sparse.csr_matrix) -> float:
    """Mean Recall@20 over all users with held pairs; every item ranked, seen ones masked."""
    rows = np.flatnonzero(np.diff(held.indptr))
    recalls: list[float] = []
    for begin in range(0, len(rows), 512):
        batch = rows[begin : begin + 512]
        scores = users[batch] @ items.T
        known = seen[batch].tocoo()
        scores[known.row, known.col] = -np.inf
        top = np.argpartition(-scores, 19, axis=1)[:, :20]
        wanted = held[batch]
        hits = np.asarray(wanted[np.arange(len(batch))[:, None], top].todense()) > 0
        recalls.extend((hits.sum(1) / np.diff(wanted.indptr)).tolist())
    return float(np.mean(recalls))


def gowalla() -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """(train, test) of the published split, (29858, 40981) each."""
    parts = []
    for name in ("train.txt.gz", "test.txt"):
        path = GOWALLA / name
        content = path.read_bytes()
        text = (gzip.decompress(content) if name.endswith("gz") else content).decode()
        numbers = [np.array(line.split(), dtype=np.int64) for line in text.splitlines()]
        users = np.concatenate([np.full(len(row) - 1, row[0]) for row in numbers if len(row)])
        items = np.concatenate([row[1:] for row in numbers if len(row)])
        parts.append((users, items))
    shape = tuple(max(int(part[axis].max()) for part in parts) + 1 for axis in (0, 1))
    made = [sparse.csr_matrix((np.ones(len(u), np.float32), (u, i)), shape=shape) for u, i in parts]
    return made[0], made[1]


def planted(
    users: int = 3000, items: int = 1500, groups: int = 10
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """(fit, held) of users who take from their own niche mostly; a fifth of the pairs is held."""
    rng = np.random.default_rng(0)
    same = np.arange(users)[:, None] % groups == np.arange(items) % groups
    taken = rng.random((users, items)) < np.where(same, 0.2, 0.002)
    held = taken & (rng.random(taken.shape) < 0.2)
    made = [sparse.csr_matrix(part.astype(np.float32)) for part in (taken & ~held, held)]
    return made[0], made[1]


def show(rows: list[dict[str, Any]]) -> None:
    """Print the rows as a table; what a row does not measure stays empty."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(*columns, title="bench")
    for row in rows:
        table.add_row(*("" if row.get(key) is None else str(row[key]) for key in columns))
    Console().print(table)
