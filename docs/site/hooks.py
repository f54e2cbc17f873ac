"""Makes of the repository's Markdown what a site needs; called by MkDocs."""

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

WEB = Path(__file__).resolve().parents[2] / "api" / "web"
MERMAID = WEB / "node_modules" / "@mermaid-js" / "tiny" / "dist" / "mermaid.tiny.js"
DRAWS = "assets/mermaid.js"  # where the site has it, so that nothing is fetched from elsewhere


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Take the words that tests read off the fences: ```console run is ```console to a reader."""
    if not MERMAID.is_file():  # then a picture stays the text that it is drawn from
        markdown = markdown.replace("```mermaid\n", "```text\n")
    return re.sub(r"^(\s*```\w+) (?:run|long|shown)\b.*$", r"\1", markdown, flags=re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what draws pictures from text; npm installed it for the page."""
    if MERMAID.is_file():
        files.append(File.generated(config, DRAWS, abs_src_path=str(MERMAID)))
    return files


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Load what draws pictures, on pages that have some, before the theme looks for it."""
    if 'class="mermaid"' not in output:
        return output
    up = "../" * page.url.count("/")
    return output.replace("</head>", f'<script src="{up}{DRAWS}"></script></head>', 1)
