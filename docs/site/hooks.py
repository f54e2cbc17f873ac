"""Makes of the repository's Markdown and notebooks what a site needs; called by MkDocs."""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import routes
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

WEB = Path(__file__).resolve().parents[2] / "api" / "web"
MERMAID = WEB / "node_modules" / "@mermaid-js" / "tiny" / "dist" / "mermaid.tiny.js"
DRAWS = "assets/mermaid.js"  # where the site has it, so that nothing is fetched from elsewhere


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Take the words that tests read off the fences: ```console run is ```console to a reader."""
    if not MERMAID.is_file():  # then a picture stays the text that it is drawn from
        markdown = markdown.replace("```mermaid\n", "```text\n")
    markdown = re.sub(r"(\]\([\w/.-]+)\.ipynb\)", r"\1.md)", markdown)
    return re.sub(r"^(\s*```\w+) (?:run|long|shown)\b.*$", r"\1", markdown, flags=re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Make pages of notebooks and of the routes; add what draws pictures, which npm installed."""
    files.append(File.generated(config, routes.PAGE, content=routes.page()))
    for file in [file for file in files if file.src_uri.endswith(".ipynb")]:
        files.remove(file)
        for name, content in _page(file.src_uri.removesuffix(".ipynb"), file.content_string):
            files.append(File.generated(config, name, content=content))
    if MERMAID.is_file():
        files.append(File.generated(config, DRAWS, abs_src_path=str(MERMAID)))
    return files


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Load what draws pictures, on pages that have some, before the theme looks for it."""
    if 'class="mermaid"' not in output:
        return output
    up = "../" * page.url.count("/")
    return output.replace("</head>", f'<script src="{up}{DRAWS}"></script></head>', 1)


def _page(name: str, notebook: str) -> Iterator[tuple[str, str | bytes]]:
    """The page of a notebook as Markdown, and its pictures, by the names of their files."""
    parts: list[str] = []
    pictures = 0
    for cell in json.loads(notebook)["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for data in (output.get("data", {}) for output in cell["outputs"]):
            if "image/png" in data:
                pictures += 1
                picture = f"{name}-{pictures}.png"
                yield picture, base64.b64decode("".join(data["image/png"]))
                parts.append(f"![What the cell draws]({Path(picture).name})")
            elif "text/plain" in data:
                parts.append(f"```text\n{''.join(data['text/plain'])}\n```")
    yield f"{name}.md", "\n\n".join(parts) + "\n"
