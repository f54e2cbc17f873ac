"""All errors that this program raises on purpose, as one tree.

NichegraphError
├── InputError          outside data is wrong: names the file, row, field or key, and the remedy
│   ├── SettingError    a setting or a key of a TOML file
│   ├── TooManyRejects  a load was stopped: too large a share of its rows was rejected
│   └── QueryRefused    the Cypher console will not run this query
│       └── QueryStopped  it outran its time or memory
├── NotFound            an id, a release, a segment that is not there
├── StoreError          the store cannot answer
│   ├── StoreForeign    the file is not ours, or was written by a newer version
│   ├── StoreAway       the database is gone, slow or refuses us; says what to check
│   └── InboxFull       writes wait: the journal is at its limit, or its disk is full
├── MissingExtra        a package is not installed: names the extra that brings it
├── ReleaseError        a release is missing, damaged or does not fit
└── GateRefused         the new release is worse than what is live: kept aside, not published
    └── LoadRefused     a load would hide too much of the catalogue; nothing of it was applied
"""


class NichegraphError(Exception):
    """An error that the caller can act on; its message is shown to people as it is."""


class InputError(NichegraphError, ValueError):
    """Outside data is wrong; the message names the place and the remedy."""


class SettingError(InputError):
    """A setting or configuration key is wrong; the message names it."""


class TooManyRejects(InputError):  # noqa: N818 - reads as a sentence
    """A load was stopped because too many rows were rejected; nothing of the file was kept."""


class QueryRefused(InputError):  # noqa: N818
    """The Cypher console will not run this query; the message says which part and why."""


class QueryStopped(QueryRefused):
    """A query outran its time or memory and was stopped."""


class NotFound(NichegraphError, LookupError):  # noqa: N818
    """Something asked for by name is not there."""


class StoreError(NichegraphError):
    """The store cannot answer."""


class StoreForeign(StoreError):  # noqa: N818
    """The store's file is not ours or was written by a newer version."""


class StoreAway(StoreError):  # noqa: N818
    """The database is gone, slow or refuses us; the message says what to check."""


class InboxFull(StoreError):  # noqa: N818
    """The journal takes no more writes for now; the message says why and what helps."""


class MissingExtra(NichegraphError):  # noqa: N818
    """A package that this needs is not installed; the message names the extra that brings it."""


class ReleaseError(NichegraphError):
    """A release is missing, damaged or does not fit this version."""


class GateRefused(NichegraphError):  # noqa: N818
    """The new release is worse than the live one or a baseline; it is kept aside."""


class LoadRefused(GateRefused):
    """A load would hide too much of the catalogue; nothing of it was applied."""
