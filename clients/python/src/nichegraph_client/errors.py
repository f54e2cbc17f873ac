"""What can go wrong.

ServiceError
├── Unreachable   nobody answered, however often it was tried
├── Problem       the service refused: a status, a sentence, and the fields that are wrong
└── Malformed     the answer is not what this version of the client knows
"""

from collections.abc import Mapping
from typing import Any, Self


class ServiceError(Exception):
    """Whatever this client raises."""


class Unreachable(ServiceError):
    """Nobody answered: no connection, or no answer in time."""

    @classmethod
    def at(cls, address: str, cause: Exception) -> Self:
        """The error for an address, with what the network said."""
        error = cls(f"{address} does not answer: {cause or type(cause).__name__}")
        error.__cause__ = cause
        return error


class Problem(ServiceError):
    """The service refused a request."""

    def __init__(self, status: int, content: Mapping[str, Any], text: str = "") -> None:
        """Keep what the answer says; `text` stands in for an answer that is no problem+json."""
        self.status = status
        self.detail = str(content.get("detail") or text or "no reason given")
        self.errors: list[tuple[str, str]] = [  # field, message
            (str(error.get("field", "")), str(error.get("message", "")))
            for error in content.get("errors") or []
        ]
        super().__init__(f"{status}: {self.detail}")


class Malformed(ServiceError):
    """An answer lacks a field, or has another type there, than this client expects."""
