"""Lists by neural models of public libraries, to be judged beside ours by `bench sessions --lists`.

Each model runs in an environment of its own, without this project:

    pip install "rectools[torch]==0.19.0"        # SASRec
    pip install "cornac==3.0.1" torch            # GRU4Rec
    python benchmarks/_neural_lists.py SASRec FOLDER amazon-beauty-5core SASRec.txt

FOLDER is what `bench sessions --strict --write` wrote to. Of each list asked about, the item before
the last is held back to choose by, and read when the last is foretold. `SASRec` is that of RecTools
(Kang & McAuley 2018) with the loss and 32 negatives of gSASRec (Petrov & Macdonald 2023), trained
until three epochs bring no smaller loss of what is held back. `GRU4Rec` is that of Cornac (Hidasi
et al. 2015); its rate, dropout and epochs are those that find most of what is held back.
"""

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

WIDTH, SHOWN = 64, 10
Lists = dict[int, list[int]]


def main(arguments: Sequence[str]) -> None:
    """Train one model and write its lists, `user item item …`, best first."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", choices=("SASRec", "GRU4Rec"))
    parser.add_argument("folder", type=Path, help="what `bench sessions --write` wrote to")
    parser.add_argument("name", help="of the set")
    parser.add_argument("to", type=Path, help="the file for the lists")
    parser.add_argument("--length", type=int, default=50, help="SASRec reads so many items")
    parser.add_argument("--epochs", type=int, default=60, help="at most so many")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    import torch

    warnings.filterwarnings("ignore")
    torch.set_num_threads(chosen.threads)
    learned = read(chosen.folder / f"{chosen.name}.train.txt")
    ends = read(chosen.folder / f"{chosen.name}.test.txt")
    if any(len(items) != 2 for items in ends.values()):
        raise SystemExit("the test file was not written with --strict: it needs two items a line")
    withheld = {user: items[0] for user, items in ends.items()}
    began = time.perf_counter()
    lists = {"SASRec": sasrec, "GRU4Rec": gru4rec}[chosen.model](learned, withheld, chosen)
    took = round(time.perf_counter() - began)
    hits = sum(ends[user][1] in items for user, items in lists.items())
    say(f"{chosen.model}: Recall@{SHOWN} {hits / len(ends):.4f} after {took} s")
    lines = (f"{user} {' '.join(map(str, items))}\n" for user, items in lists.items())
    chosen.to.write_text("".join(lines))


def read(path: Path) -> Lists:
    """User -> items, oldest first."""
    lines = (map(int, line.split()) for line in path.read_text().splitlines())
    return {user: items for user, *items in lines}


def say(text: str) -> None:
    """Tell how far it is."""
    print(text, file=sys.stderr, flush=True)


def sasrec(learned: Lists, withheld: dict[int, int], chosen: argparse.Namespace) -> Lists:
    """The lists of RecTools' SASRec after its best epoch, for whoever something is held back of."""
    import pandas as pd
    from pytorch_lightning import Trainer, seed_everything
    from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel

    rows = [
        (user, item, 1.0, at)
        for user, items in learned.items()
        for at, item in enumerate([*items, *([withheld[user]] if user in withheld else [])])
    ]
    table = pd.DataFrame(rows, columns=["user_id", "item_id", "weight", "at"])
    table["datetime"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(table.pop("at"), "D")
    pairs_withheld = set(withheld.items())

    def held_back(interactions: Any) -> Any:
        pairs = zip(interactions["user_id"], interactions["item_id"], strict=True)
        return np.array([pair in pairs_withheld for pair in pairs])

    class Told(Callback):  # type: ignore[misc]
        def on_validation_end(self, trainer: Any, _model: Any) -> None:
            say(f"epoch {trainer.current_epoch}: {float(trainer.callback_metrics['val_loss']):.4f}")

    with tempfile.TemporaryDirectory() as folder:
        best = ModelCheckpoint(folder, monitor="val_loss", save_weights_only=True)

        def trainer() -> Any:
            stop = EarlyStopping("val_loss", patience=3)
            return Trainer(
                accelerator="cpu", max_epochs=chosen.epochs, callbacks=[stop, best, Told()],
                logger=False, enable_progress_bar=False, enable_model_summary=False,
                num_sanity_val_steps=0,
            )  # fmt: skip

        seed_everything(chosen.seed, verbose=False)
        model = SASRecModel(
            n_factors=WIDTH, n_blocks=2, n_heads=2, dropout_rate=0.3, loss="gBCE",
            n_negatives=32, gbce_t=0.75, lr=0.001, session_max_len=chosen.length, batch_size=128,
            get_val_mask_func=held_back, get_trainer_func=trainer, recommend_torch_device="cpu",
        )  # fmt: skip
        dataset = Dataset.construct(table)
        model.fit(dataset)
        saved = model.fit_trainer.checkpoint_callback.best_model_path  # of a copy of `best`
        model.load_weights_from_checkpoint(saved)
    users = sorted(withheld)
    ranked = model.recommend(users=users, dataset=dataset, k=SHOWN, filter_viewed=True)
    lists: Lists = {user: [] for user in users}
    for user, item in zip(ranked["user_id"], ranked["item_id"], strict=True):
        lists[int(user)].append(int(item))
    return lists


def gru4rec(learned: Lists, withheld: dict[int, int], chosen: argparse.Namespace) -> Lists:
    """The lists of Cornac's GRU4Rec with what finds most of what is held back."""
    from cornac.data import SequentialDataset
    from cornac.models import GRU4Rec

    events = [
        (user, item, at)
        for user, items in learned.items()
        for at, item in enumerate(items)
        if len(items) > 1
    ]
    train = SequentialDataset.from_sit(events, seed=chosen.seed)
    items = np.array(list(train.iid_map))
    row_of = train.iid_map

    def lists_of(model: Any, known: Lists) -> Iterator[tuple[int, list[int]]]:
        for user, own in known.items():
            rows = [row_of[item] for item in own if item in row_of]
            scores = np.array(model.score(None, rows), np.float64)
            scores[rows] = -np.inf
            best = np.argpartition(-scores, SHOWN)[:SHOWN]
            yield user, items[best[np.argsort(-scores[best])]].tolist()

    before = {user: learned[user] for user in sorted(withheld)}
    best, most = None, -1
    for rate, dropout, epochs in product((0.05, 0.1), (0.25, 0.5), (5, 15)):
        model = GRU4Rec(
            layers=[WIDTH * 2], loss="cross-entropy", batch_size=512, learning_rate=rate,
            dropout_p_embed=dropout, dropout_p_hidden=dropout, n_epochs=epochs, logq=1.0,
            seed=chosen.seed,
        )  # fmt: skip
        model.fit(train)
        hits = sum(withheld[user] in own for user, own in lists_of(model, before))
        say(f"rate {rate}, dropout {dropout}, {epochs} epochs: {hits / len(withheld):.4f}")
        if hits > most:
            best, most = model, hits
    return dict(lists_of(best, {user: [*own, withheld[user]] for user, own in before.items()}))


if __name__ == "__main__":
    main(sys.argv[1:])
