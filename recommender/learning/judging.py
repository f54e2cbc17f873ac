"""The step of a refresh that asks the gates: may this candidate be published?"""

from collections.abc import Mapping

import numpy as np

from graph.domains import Domains
from graph.errors import SettingError
from recommender.learning.build import RefreshConfig, Say
from recommender.learning.checked_release import Seen
from recommender.learning.gate_figures import figures
from recommender.learning.gates import Comparison, Figure, Reason, Verdict, compared, fallen
from recommender.learning.sanity import checked
from recommender.learning.train import Trained
from recommender.learning.trial import Trial, fit_trial, made_of
from recommender.releases.release import Release
from recommender.releases.rows import Rows
from recommender.releases.steps import Steps

JUDGED = (Verdict, Reason, Figure, Comparison)  # what the step gives, see `Steps`
TOO_FEW = "too few users to measure quality by: only the checks judged this release"
OTHER_VERSION = (
    "the served release was made by another version and could not be rebuilt to compare with"
)


def judge(
    trained: Trained,
    candidate: Release,
    served: Release | None,
    domains: Domains,
    config: RefreshConfig,
    steps: Steps,
    *,
    expired: Mapping[str, int],
    now: int,
    say: Say,
) -> Verdict:
    """The verdict on a candidate that is written and verified, but not yet published.

    Args:
        trained: the trial of the candidate, and what was held back from it.
        candidate: the release as it was written.
        served: the release that is served now; None before the first.
        domains: of the items.
        config: of the refresh.
        steps: where the trial of the served release's recipe is kept.
        expired: see `Seen`.
        now: seconds since 1970.
        say: called with the name of each step.
    """
    say("judging by what was held back")
    seen = trained.trial.graph.user_seen
    fitted = Rows(seen.indptr.astype(np.int64), seen.indices, seen.shape[1])
    reasons, checks = checked(Seen(candidate, served, trained.parts, fitted, expired))
    rival, notes = _served_trial(trained, served, domains, config, steps, now=now)
    judged = figures(
        trained.trial,
        rival,
        trained.own_groups,
        trained.groups.manifest["names"],
        seed=config.seed,
    )
    before = served.manifest.get("gates", {}).get("figures", []) if served is not None else []
    lost, behind = compared(judged, first=served is None)
    reasons += [*lost, *fallen(judged, before)]
    notes = [*notes, *behind] if judged else [*notes, TOO_FEW]
    return Verdict(judged, reasons, [*checks, "comparison", "fall"], notes=notes)


def _served_trial(
    trained: Trained,
    served: Release | None,
    domains: Domains,
    config: RefreshConfig,
    steps: Steps,
    *,
    now: int,
) -> tuple[Trial | None, list[str]]:
    """A trial of the served release's recipe; the candidate's own trial if both recipes agree."""
    made = None if served is None else made_of(served.manifest)
    if made is None:
        return None, [] if served is None else [OTHER_VERSION]
    if made == trained.trial.made:
        return trained.trial, []
    try:
        return (
            fit_trial(
                trained.fit,
                trained.parts,
                domains,
                config,
                made,
                steps,
                "served",
                beside=trained.trial,
                now=now,
                say=_quiet,
            ),
            [],
        )
    except SettingError as error:  # its weighting names a domain that is gone
        return None, [f"the served release could not be rebuilt to compare with: {error}"]


def _quiet(_: str) -> None:
    """Show nothing: the steps of the served release's trial are not reported."""
