"""API keys: who may do what. A key is shown once; a file keeps only its prefix and SHA-256.

    ng_<8 letters>_<43 letters>      256 random bits; the eight letters are the key's id

A key carries scopes. It may also require a signed subject: then every request about a person must
bring a short-lived token for that person alone, which the application makes with the key's own
secret. So no visitor can use the key of a page to read another's list.
"""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from graph.durable import locked, replace_file
from graph.errors import InputError, NotFound, SettingError

SCOPES = {
    "recommend": "read lists, items and reasons",
    "track": "write events and nothing else; safe to put into a page",
    "ingest": "write events, items and users",
    "explore": "query the graph, see segments",
    "privacy": "see and erase what is known about people",
    "admin": "see and change releases and rules, see the state of the server",
}
PREFIX = "ng"
SECRET_BYTES = 32
LONGEST_TOKEN = 2_000  # characters of a subject token
LONGEST_LIFE = 86_400  # seconds that a subject token may live
OF_SUBJECTS = ("recommend", "track", "privacy")  # what a key with signed subjects may do


@dataclass(frozen=True)
class Key:
    """One key, without its secret."""

    id: str
    digest: str  # SHA-256 of the whole key
    scopes: tuple[str, ...]
    name: str = ""
    created_at: int = 0
    expires_at: int | None = None
    revoked_at: int | None = None
    rotated_at: int | None = None
    signing: str | None = None  # signs the subject tokens that its requests must bring

    def holds(self, now: int) -> bool:
        """Whether the key is valid at this time."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def public(self) -> dict[str, Any]:
        """What a list of keys shows."""
        kept = asdict(self)
        del kept["digest"], kept["signing"]
        return kept | {"scopes": list(self.scopes), "signed_subjects": self.signing is not None}


@dataclass(frozen=True)
class Made:
    """A new key and its secrets, which are shown only this once."""

    key: Key
    secret: str
    signing: str | None


class KeyFile:
    """The keys of a home; the file is read again when it has changed."""

    def __init__(self, path: Path) -> None:
        """Remember where the keys are; nothing is read."""
        self.path = path
        self._lock = path.with_name(".keys.lock")  # there since the first key was made
        self._stamp: tuple[int, int] | None = None
        self._keys: dict[str, Key] = {}

    def keys(self) -> dict[str, Key]:
        """Id -> key; none where there never was a file.

        Raises:
            SettingError: the file does not hold what was written, or is gone; nobody is let in on a
                guess.
        """
        try:
            stat = self.path.stat()
            stamp = (stat.st_mtime_ns, stat.st_ino)
        except FileNotFoundError:
            if self._stamp is not None or self._lock.exists():
                raise SettingError(
                    f"{self.path} is gone; bring it back from a backup, or create new keys"
                ) from None
            return {}
        if stamp != self._stamp:
            self._keys, self._stamp = _read(self.path), stamp
        return self._keys

    def opened_by(self, secret: str, now: int) -> Key | None:
        """The key with this secret, if it is valid; compared in constant time."""
        parts = secret.split("_", 2)
        key = self.keys().get(parts[1]) if len(parts) == 3 and parts[0] == PREFIX else None
        digest = _digest(secret)
        same = hmac.compare_digest(digest, key.digest if key is not None else _digest(""))
        return key if key is not None and same and key.holds(now) else None

    def create(
        self,
        scopes: Sequence[str],
        *,
        now: int,
        name: str = "",
        days: float | None = None,
        signed_subjects: bool = False,
    ) -> Made:
        """A new key; its secret is in the answer and nowhere else.

        Raises:
            InputError: a scope is not one of `SCOPES`, there is none, or a visitor may not have it.
        """
        unknown = [scope for scope in scopes if scope not in SCOPES]
        if unknown or not scopes:
            raise InputError(
                f"scope {unknown[0]!r} is not one of {', '.join(SCOPES)}" if unknown
                else f"a key needs a scope: {', '.join(SCOPES)}"
            )  # fmt: skip
        wide = [scope for scope in scopes if signed_subjects and scope not in OF_SUBJECTS]
        if wide:
            raise InputError(
                f"a key with signed subjects is for visitors: {', '.join(OF_SUBJECTS)}, and not "
                f"{wide[0]}"
            )
        number = secrets.token_hex(4)
        secret = f"{PREFIX}_{number}_{secrets.token_urlsafe(SECRET_BYTES)}"
        signing = secrets.token_urlsafe(SECRET_BYTES) if signed_subjects else None
        key = Key(
            id=number,
            digest=_digest(secret),
            scopes=tuple(dict.fromkeys(scopes)),
            name=name,
            created_at=now,
            expires_at=None if days is None else now + round(days * 86_400),
            signing=signing,
        )
        self._change(lambda keys: keys | {key.id: key})
        return Made(key, secret, signing)

    def revoke(self, number: str, *, now: int) -> Key:
        """End a key; `NotFound` when there is not one of this id."""
        gone = replace(self._known(number), revoked_at=now)
        self._change(lambda keys: keys | {number: gone})
        return gone

    def rotate(self, number: str, *, now: int, overlap: int) -> Made:
        """A new key with the same scopes, for as long; the old one holds for `overlap` seconds."""
        old = self._known(number)
        if not old.holds(now):
            raise InputError(f"key {number} has already expired or been revoked; create a new one")
        if old.rotated_at is not None:
            raise InputError(f"key {number} has been rotated before; rotate its successor")
        made = self.create(
            old.scopes,
            now=now,
            name=old.name,
            days=None if old.expires_at is None else (old.expires_at - old.created_at) / 86_400,
            signed_subjects=old.signing is not None,
        )
        ends = now + overlap if old.expires_at is None else min(old.expires_at, now + overlap)
        self._change(lambda keys: keys | {number: replace(old, expires_at=ends, rotated_at=now)})
        return made

    def take_over(self, other: Path) -> None:
        """Hold what another file of keys holds from now on."""
        with locked(self._lock):
            replace_file(self.path, other.read_text(encoding="utf-8"), mode=0o600)

    def _known(self, number: str) -> Key:
        keys = self.keys()
        if number not in keys:
            raise NotFound(f"there is no key {number!r}; there are: {', '.join(keys) or 'none'}")
        return keys[number]

    def _change(self, change: Any) -> None:
        first = not self._lock.exists()
        try:
            self._write(change)
        except BaseException:
            if first:  # there are no keys yet, so nobody is to miss them
                self._lock.unlink(missing_ok=True)
            raise

    def _write(self, change: Any) -> None:
        with locked(self._lock):
            keys = change(_read(self.path) if self.path.exists() else {})
            content = json.dumps([asdict(key) for key in keys.values()], indent=1)
            replace_file(self.path, content + "\n", mode=0o600)


def subject_token(signing: str, user: str, expires_at: int) -> str:
    """A token that an application gives a visitor's page: valid for one user, until it expires."""
    payload = json.dumps({"user": user, "exp": expires_at}, separators=(",", ":")).encode()
    return f"{_text(payload)}.{_text(_sign(signing, payload))}"


def subject_of(token: str, signing: str, now: int) -> str | None:
    """The user that a token is for; None when we did not sign it, or it has expired."""
    claims = _claims(token, signing) or {}
    user, ends = claims.get("user"), claims.get("exp")
    if not isinstance(user, str) or not isinstance(ends, int):
        return None
    return user if now < ends <= now + LONGEST_LIFE else None


def pixel_of(token: str, signing: str) -> tuple[dict[str, Any], int] | None:
    """The event that the address of an image tells of, and when it expires; None if not signed.

    The token is made like that of a subject, of `{"pixel": event, "exp": seconds since 1970}`.
    """
    claims = _claims(token, signing) or {}
    event, ends = claims.get("pixel"), claims.get("exp")
    if not isinstance(event, dict) or not isinstance(ends, int):
        return None
    return event, ends


def _claims(token: str, signing: str) -> dict[str, Any] | None:
    """What a token says, if it was signed with this secret."""
    content, _, signature = token[:LONGEST_TOKEN].partition(".")
    try:
        payload = _bytes(content)
        if not hmac.compare_digest(_sign(signing, payload), _bytes(signature)):
            return None
        claims = json.loads(payload)
    except (ValueError, TypeError):
        return None
    return claims if isinstance(claims, dict) else None


def _sign(signing: str, payload: bytes) -> bytes:
    return hmac.digest(signing.encode(), payload, "sha256")


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _read(path: Path) -> dict[str, Key]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        keys = [Key(**{**entry, "scopes": tuple(entry["scopes"])}) for entry in entries]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SettingError(
            f"{path} cannot be read ({error}); bring it back from a backup, or remove it and "
            "create new keys"
        ) from error
    return {key.id: key for key in keys}
