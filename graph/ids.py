"""Makes ids from text, in the same way for loads, requests, erasures and stores.

Blanks around an id are removed and the rest becomes NFC; capitals and leading zeros stay. Kinds of
events and relations are compared without case, so they are kept in lower case.
"""

import unicodedata
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


def as_id(text: str) -> str:
    """The id that a text stands for; empty where the text holds none."""
    return unicodedata.normalize("NFC", text.strip())


def as_kind(text: str) -> str:
    """The kind of event or relation that a text stands for."""
    return as_id(text).lower()


def as_word(text: str) -> str:
    """A name of a tag without case, as such names are compared."""
    return as_id(text).casefold()


def as_ids(texts: Any) -> Any:
    """`as_id` for an Arrow array of strings (n,); nulls stay null."""
    texts = pc.utf8_trim_whitespace(texts)
    plain = pc.string_is_ascii(texts).fill_null(True)
    if pc.all(plain).as_py() is not False:
        return texts
    foreign = pc.invert(plain)  # Arrow's own utf8_normalize (25.0) decomposes them
    spelled = [as_id(text) for text in texts.filter(foreign).to_pylist()]
    return pc.replace_with_mask(texts, foreign, pa.array(spelled, pa.string()))


def as_kinds(texts: Any) -> Any:
    """`as_kind` for an Arrow array of a few strings (n,); nulls stay null."""
    return pa.array([text and as_kind(text) for text in texts.to_pylist()], pa.string())
