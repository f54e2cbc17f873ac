"""What an application's server signs for its visitors: tokens for pages, addresses for e-mails.

Both use the signing secret that was shown with a key made by `nichegraph keys create --signed`.
Neither belongs into a page: whoever has the secret can speak for everybody.
"""

import base64
import hashlib
import hmac
import json
from urllib.parse import quote


def subject_token(secret: str, user: str, expires_at: int) -> str:
    """The `X-Subject` of a visitor's page: valid for this user, and for a day at most.

    `expires_at` is in seconds since 1970.
    """
    return _signed(secret, {"user": user, "exp": expires_at})


def pixel_address(
    service: str,
    key_id: str,
    secret: str,
    event: dict[str, str | float],
    expires_at: int,
) -> str:
    """The address of an image for an e-mail; loading it tells the service of one event.

    Args:
        service: where the service answers.
        key_id: the eight letters of the key, as `nichegraph keys list` shows them.
        secret: the signing secret of that key.
        event: `user`, `item`, `event_id`, and as `kind` how it is to count, such as `open`.
        expires_at: until when it counts, in seconds since 1970.
    """
    token = _signed(secret, {"pixel": event, "exp": expires_at})
    return f"{service.rstrip('/')}/v1/pixel/{quote(key_id, safe='')}/{token}.gif"


def _signed(secret: str, claims: dict[str, object]) -> str:
    payload = json.dumps(claims, separators=(",", ":")).encode()
    return f"{_text(payload)}.{_text(hmac.digest(secret.encode(), payload, hashlib.sha256))}"


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
