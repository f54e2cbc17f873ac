"""Vectors for items never seen, from their features by a network.

Releases hold the map that `inductive.fit_ridge` fits; `./run bench cold` compares the two.
"""

import warnings

import numpy as np
import torch
from torch.nn import functional
from torch_geometric.nn import HeteroConv, SimpleConv

from embeddings.vectors.gnn_network import to_torch
from embeddings.vectors.gnn_start import normalised
from embeddings.vectors.inductive import Features, InductiveMap, feature_scales
from graph.arrays import F32


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
        # Features are only read: on purpose, no gradient flows back into them.
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
