"""A folder that holds everything of a catalogue."""

from dataclasses import dataclass
from pathlib import Path

from graph.errors import InputError


@dataclass(frozen=True)
class Home:
    """The places inside a catalogue's folder; nothing is made before `create()`."""

    folder: Path
    erasure_log: Path | None = None  # outside of it, see `recommender.overlay.erasure_log`
    audit_head: Path | None = None  # outside of it, see `recommender.releases.audit`
    journal_key_file: Path | None = None  # outside of it, see `recommender.releases.journal_key`

    @property
    def store(self) -> Path:
        """The embedded store's file."""
        return self.folder / "store.sqlite"

    @property
    def releases(self) -> Path:
        """One folder per release, and `CURRENT`."""
        return self.folder / "releases"

    @property
    def reports(self) -> Path:
        """What loads, refreshes and studies report."""
        return self.folder / "reports"

    @property
    def staging(self) -> Path:
        """Validated rows of a load that is under way."""
        return self.folder / "staging"

    @property
    def unfinished(self) -> Path:
        """Finished steps of a refresh that is not: beside the releases, on the same disk."""
        return self.releases / "unfinished"

    @property
    def kept(self) -> Path:
        """What the next refresh goes on from: beside the releases, on the same disk."""
        return self.releases / "kept"

    @property
    def rejects(self) -> Path:
        """Rows that loads refused, with file, line and reason."""
        return self.folder / "rejects"

    @property
    def inbox(self) -> Path:
        """The journal: what was acknowledged and is on its way into the store."""
        return self.folder / "inbox" / "journal.sqlite"

    @property
    def audit(self) -> Path:
        """What was done, each line with the hash of the one before."""
        return self.folder / "audit"

    @property
    def explore(self) -> Path:
        """Embedded graph files for Cypher, one per snapshot fingerprint."""
        return self.folder / "explore"

    @property
    def settings(self) -> Path:
        """Settings of this catalogue."""
        return self.folder / "settings.toml"

    @property
    def weighting(self) -> Path:
        """How events and tags become edge weights."""
        return self.folder / "weighting.toml"

    @property
    def segments(self) -> Path:
        """How users are grouped and how each group is reranked."""
        return self.folder / "segments.toml"

    @property
    def model(self) -> Path:
        """What is set of the item table, see `nichegraph tune model`."""
        return self.folder / "model.toml"

    @property
    def tuning(self) -> Path:
        """What `tune model` has tried, so that it can go on."""
        return self.folder / "tuning"

    @property
    def rules(self) -> Path:
        """Editorial rules."""
        return self.folder / "rules.toml"

    @property
    def retention(self) -> Path:
        """How long events are kept."""
        return self.folder / "retention.toml"

    @property
    def reduced(self) -> Path:
        """Sums of events that were dropped."""
        return self.folder / "reduced.sqlite"

    @property
    def erasures_heard(self) -> Path:
        """How many lines of the erasure log this home has heard of."""
        return self.folder / "erasures-heard"

    @property
    def keys(self) -> Path:
        """API keys, without their secrets."""
        return self.folder / "keys.json"

    @property
    def state(self) -> Path:
        """Who was erased and what is hidden, whichever release is served."""
        return self.folder / "state.json"

    @property
    def state_lock(self) -> Path:
        """Held by who changes the state."""
        return self.folder / ".state.lock"

    def create(self) -> "Home":
        """Make the folder and its parts; a path that is a file is an `InputError`."""
        try:
            for part in (self.releases, self.reports, self.staging, self.rejects, self.explore):
                part.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise InputError(
                f"{self.folder} cannot be the home of a catalogue: {error.filename} is a file; "
                "name a folder with --home"
            ) from error
        except OSError as error:
            raise InputError(
                f"{self.folder} cannot be made: {error.strerror}; name another folder with --home"
            ) from error
        return self
