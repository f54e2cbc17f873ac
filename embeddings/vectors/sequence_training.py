"""Learns what comes next from lists of items: the arrays of a `SequenceModel`, with torch.

The loss is a softmax over the items, estimated from many negatives that all lists of a step share
(as in eSASRec, Tikhonovich et al. 2025, arXiv:2508.06450); each is drawn by the root of how often
it occurs, and counts 1 / that chance. Items begin with the singular vectors of who chose what.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from embeddings.vectors.sequence_model import REACH, SequenceModel
from graph.arrays import F32, F64, I32, I64
from graph.freed import reusing_freed

STEPS, FEWEST = 30, 128
"""An epoch of little data has so many steps, unless these had fewer items than the second."""
Progress = Callable[[int], None]
Watch = Callable[[SequenceModel], float]


@dataclass(frozen=True)
class SequenceConfig:
    """How the model is built and trained, see decision 13.

    `batch` counts items that are learned to be foretold in one step; `patience` how many epochs may
    pass without a better figure. No training goes over more than `most` items, all epochs together.
    """

    width: int = 64
    heads: int = 2
    blocks: int = 2
    batch: int = 2048
    negatives: int = 1024
    dropout: float = 0.3
    learning_rate: float = 0.002
    decay: float = 0.01
    epochs: int = 40
    patience: int = 3
    most: int = 12_000_000


class Network(torch.nn.Module):
    """The model of `sequence_model` as torch learns it."""

    def __init__(self, items: int, config: SequenceConfig, start: F32 | None, seed: int) -> None:
        """Items begin with the vectors `start` (m, w), and with small noise behind them."""
        super().__init__()
        self.rng = np.random.default_rng(seed)  # torch's own takes five times as long

        def drawn(*shape: int, spread: float) -> torch.nn.Parameter:
            values = self.rng.normal(0, spread, shape).astype(np.float32)
            return torch.nn.Parameter(torch.from_numpy(values))

        d, b, h = config.width, config.blocks, config.heads
        self.config = config
        self.vectors = drawn(items, d, spread=d**-0.5)
        if start is not None:
            kept = min(d, start.shape[1])
            length = np.sqrt(np.square(start[:, :kept]).sum() / max(items, 1)) or 1.0
            with torch.no_grad():
                self.vectors.mul_(0.1)
                self.vectors[:, :kept] += torch.from_numpy(start[:, :kept] / np.float32(length))
        self.attention = drawn(b, 4, d, d, spread=d**-0.5)
        self.near = torch.nn.Parameter(torch.zeros(b, h, REACH))
        self.inner, self.outer = (drawn(b, d, d, spread=d**-0.5) for _ in range(2))
        self.inner_shift = torch.nn.Parameter(torch.zeros(b, d))
        self.outer_shift = torch.nn.Parameter(torch.zeros(b, d))
        self.norms = torch.nn.Parameter(torch.zeros(2 * b + 1, 2, d))
        with torch.no_grad():
            self.norms[:, 0] = 1

    def forward(self, places: torch.Tensor) -> torch.Tensor:
        """(n, l, d) what each place of lists (n, l) foretells; -1 pads at the beginning."""
        config = self.config
        here, length = places >= 0, places.shape[1]

        def dropped(states: torch.Tensor) -> torch.Tensor:
            if not self.training:
                return states
            kept = self.rng.random(states.shape, np.float32) >= config.dropout
            return states * torch.from_numpy(kept / np.float32(1 - config.dropout))

        read = functional.embedding(places.clamp(min=0), self.vectors)
        states = dropped(read * config.width**0.5) * here[:, :, None]
        back = torch.arange(length)[:, None] - torch.arange(length)
        seen = (back >= 0) & here[:, None, :] | torch.eye(length, dtype=torch.bool)
        shut = torch.zeros(seen.shape).masked_fill(~seen, float("-inf"))[:, None]
        for block in range(config.blocks):
            read = self._normed(states, 2 * block)
            q, k, v = (
                (read @ self.attention[block, part])
                .view(*places.shape, config.heads, -1)
                .transpose(1, 2)
                for part in range(3)
            )
            bias = self.near[block][:, back.abs()] + shut  # (n, h, l, l)
            looked = functional.scaled_dot_product_attention(q, k, v, bias)
            looked = looked.transpose(1, 2).flatten(2) @ self.attention[block, 3]
            states = states + dropped(looked)
            read = self._normed(states, 2 * block + 1)
            inner = torch.relu(read @ self.inner[block] + self.inner_shift[block])
            states = states + dropped(dropped(inner) @ self.outer[block] + self.outer_shift[block])
        return self._normed(states, 2 * config.blocks)

    def _normed(self, states: torch.Tensor, number: int) -> torch.Tensor:
        factor, shift = self.norms[number]
        return functional.layer_norm(states, states.shape[-1:], factor, shift)

    def export(self, rows: I32) -> SequenceModel:
        """The model, whose items have these rows."""
        learned = {name: part.detach().numpy().copy() for name, part in self.named_parameters()}
        return SequenceModel(rows=rows, **learned)


def train_sequences(
    lists: list[I32],
    items: int,
    *,
    config: SequenceConfig,
    seed: int,
    threads: int,
    start: F32 | None = None,
    rows: I32 | None = None,
    watch: Watch | None = None,
    progress: Progress = lambda _: None,
) -> tuple[SequenceModel, dict[str, Any]]:
    """The model after its best epoch, and a report in values that JSON can hold.

    Args:
        lists: of places of items, 0 … `items` - 1, oldest first; those of one item teach nothing.
        items: how many there are.
        config: its sizes and how it is trained.
        seed: of everything that is drawn; the same bytes on one thread.
        threads: of the processor.
        start: (items, w) vectors that items begin with; None: noise.
        rows: (items,) the rows that the model's items have; None: 0 … `items` - 1.
        watch: gives a figure for a model after an epoch, the higher the better; training ends when
            it no longer rises. None: all epochs are run.
        progress: called with the number of each finished epoch.
    """
    rows = np.arange(items, dtype=np.int32) if rows is None else rows
    windows = _windows(lists)
    size = sum(len(window) - 1 for window in windows)
    epochs = min(config.epochs, max(1, config.most // max(size, 1)))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with reusing_freed():
            network = Network(items, config, start, seed)
            return _trained(network, windows, rows, epochs, seed, watch, progress)
    finally:
        torch.set_num_threads(before)


def _trained(
    network: Network,
    windows: list[I32],
    rows: I32,
    epochs: int,
    seed: int,
    watch: Watch | None,
    progress: Progress,
) -> tuple[SequenceModel, dict[str, Any]]:
    config = network.config
    counts = np.bincount(np.concatenate([*windows, np.zeros(0, np.int32)]), minlength=len(rows))
    chances = np.sqrt(np.maximum(counts, 1)).astype(np.float64)
    chances = np.minimum(1.0, config.negatives * chances / chances.sum())
    shrunk = [network.attention, network.inner, network.outer, network.vectors]
    others = [network.near, network.inner_shift, network.outer_shift, network.norms]
    optimizer = torch.optim.AdamW(
        [{"params": shrunk, "weight_decay": config.decay}, {"params": others, "weight_decay": 0}],
        lr=config.learning_rate,
        fused=True,
    )
    batch = max(FEWEST, min(config.batch, sum(map(len, windows)) // STEPS))
    best, best_epoch, figures, losses = network.export(rows), 0, [], []
    for epoch in range(1, epochs + 1):
        if not windows or (watch is not None and epoch - best_epoch > config.patience):
            break
        network.train()
        rng = np.random.default_rng((seed, epoch))
        total = weight = 0.0
        for places in _batches(windows, batch, rng):
            drawn = np.flatnonzero(rng.random(len(rows)) < chances)
            optimizer.zero_grad(set_to_none=True)
            loss, count = _loss(network, places, drawn, chances)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += float(loss.detach()) * count
            weight += count
        losses.append(total / max(weight, 1.0))
        network.eval()
        made = network.export(rows)
        if watch is not None:
            figures.append(float(watch(made)))
        if watch is None or figures[-1] > max(figures[:-1], default=-np.inf):
            best, best_epoch = made, epoch
        progress(epoch)
    return best, {"best_epoch": best_epoch, "losses": losses, "figures": figures}


def _loss(network: Network, places: I64, drawn: I64, chances: F64) -> tuple[torch.Tensor, int]:
    """The mean loss of the places that have a next one, and how many these are."""
    lists = torch.from_numpy(places)
    wanted = lists[:, 1:]
    there = (lists[:, :-1] >= 0) & (wanted >= 0)
    foretold = network(lists[:, :-1])[there]  # (t, d)
    wanted = wanted[there]
    own = (foretold * network.vectors[wanted]).sum(1, keepdim=True)
    rarely = torch.from_numpy(-np.log(chances[drawn]).astype(np.float32))
    others = torch.addmm(rarely, foretold, network.vectors[torch.from_numpy(drawn)].T)  # (t, k)
    places = np.searchsorted(drawn, wanted.numpy()).clip(max=len(drawn) - 1)
    itself = np.flatnonzero(drawn[places] == wanted.numpy())
    others[itself, places[itself]] = float("-inf")
    first = torch.zeros(len(own), dtype=torch.int64)
    return functional.cross_entropy(torch.cat([own, others], 1), first), len(own)


def _windows(lists: list[I32]) -> "list[I32]":
    """Lists of 2 to REACH + 1 items; a longer one in pieces, each item foretold once."""
    return [
        items[max(end - REACH - 1, 0) : end]
        for items in lists
        for end in range(len(items), 1, -REACH)
    ]


def _batches(windows: list[I32], size: int, rng: np.random.Generator) -> Iterator[I64]:
    """Windows of about the same length together, (n, l), -1 at the beginning; all of them once."""
    lengths = np.array([len(window) for window in windows])
    order = np.lexsort((rng.random(len(windows)), lengths))
    ends = np.cumsum(lengths[order] - 1)
    edges = np.flatnonzero(np.diff(ends // size, prepend=-1)).tolist()
    groups = [order[a:b] for a, b in zip(edges, [*edges[1:], len(order)], strict=True)]
    for number in rng.permutation(len(groups)).tolist():
        own = [windows[at] for at in groups[number].tolist()]
        places = np.full((len(own), max(map(len, own))), -1, np.int64)
        for row, window in zip(places, own, strict=True):
            row[len(row) - len(window) :] = window
        yield places
