"""A split made elsewhere, as files: loading it, learning from it, measuring on it."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graph.snapshot import GraphSnapshot, take_snapshot
from graph.stores.embedded_store import EmbeddedStore
from loaders.format import Options
from loaders.ingest import load
from recommender.evaluation.evaluate import evaluate_snapshot
from recommender.evaluation.steps import Steps
from recommender.evaluation.truth import given_part
from recommender.learning.build import RefreshConfig


@dataclass(frozen=True)
class SplitFiles:
    """The files of a split, and how they are read."""

    format_name: str
    train: Sequence[Path]  # learned from
    test: Sequence[Path]  # looked for
    items: Sequence[Path] = ()  # titles, tags, domains
    options: Options = field(default_factory=Options)  # of train and test
    item_options: Options = field(default_factory=Options)

    def names(self) -> Mapping[str, Any]:
        """As they stand in the report."""
        parts = {"train": self.train, "test": self.test, "items": self.items}
        return {part: [str(path) for path in paths] for part, paths in parts.items()}


def evaluate_files(
    files: SplitFiles,
    config: RefreshConfig,
    folder: Path,
    *,
    now: int,
    baselines: bool,
    steps: Steps,
) -> dict[str, Any]:
    """Learn from train and look for the pairs in test; gives the result of `evaluate_snapshot`.

    Args:
        files: of the split.
        config: what to learn.
        folder: an empty one, for stores and a release; the caller removes it.
        now: seconds since 1970, for the events that name no time.
        baselines: whether simple rankers are tuned and measured, too.
        steps: called at each step; it measures them.
    """

    def snapshot_of(part: str, sources: Sequence[tuple[Sequence[Path], Options]]) -> GraphSnapshot:
        with closing(EmbeddedStore(folder / f"{part}.sqlite")) as store:
            for paths, options in sources:
                if paths:
                    load(
                        list(paths),
                        files.format_name,
                        store,
                        staging_folder=folder / "staging",
                        rejects_file=folder / f"{part}-rejects.csv",
                        now=now,
                        options=options,
                    )
            return take_snapshot(store)

    with steps.step("load train"):
        sources = [(files.items, files.item_options), (files.train, files.options)]
        fit = snapshot_of("train", sources)
    with steps.step("load test"):
        test = snapshot_of("test", [(files.test, files.options)])
        test_part = given_part(test, config, now=now, train=fit)
    result = evaluate_snapshot(
        fit, test_part, config, folder / "release", now=now, baselines=baselines, steps=steps
    )
    dataset = {"format": files.format_name, **files.names(), **result["dataset"]}
    return {**result, "dataset": dataset}
