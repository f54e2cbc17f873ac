"""Makes of the repository's Markdown what a site needs; called by MkDocs."""

import re
from typing import Any


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Take the words that tests read off the fences: ```console run is ```console to a reader."""
    return re.sub(r"^(\s*```\w+) (?:run|long|shown)\b.*$", r"\1", markdown, flags=re.MULTILINE)
