"""Makes the page on every route from the service's OpenAPI document and `examples.toml`."""

import json
import re
import shlex
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from api.app import create_app
from api.settings import load_settings

PAGE = "routes.md"
EXAMPLES = Path(__file__).with_name("examples.toml")
ADDRESS = "http://127.0.0.1:8000"
REFERENCE = "#/components/schemas/"
HEAD = """# Every route

For application developers: what each route takes and answers, and how to call it.

This page is made from the OpenAPI document of the service, `/openapi/openapi.json` on a server.
[HTTP](api.md) explains what holds for all routes: ids, errors, keys, pages of a list, caches.
In the examples, `service` is a [client](clients.md) for Python, or for TypeScript and JavaScript;
a route without a call in these languages is there for the page at `/`. With keys, requests carry
one (`-H 'X-API-Key: …'`), and each route says which scope it needs. You may leave out what is
in italics.
"""


def document() -> dict[str, Any]:
    """The OpenAPI document, as a server without a release has it."""
    with tempfile.TemporaryDirectory() as home:
        made: dict[str, Any] = create_app(load_settings(Path(home))).api_doc
    return made


def operations(described: dict[str, Any]) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Operation id -> (method, route, what the document says of it)."""
    return {
        operation["operationId"]: (method.upper(), route, operation)
        for route, methods in described["paths"].items()
        for method, operation in methods.items()
    }


def page() -> str:
    """The page as Markdown: the routes in the order of the examples, then the objects they use."""
    described, examples = document(), tomllib.loads(EXAMPLES.read_text(encoding="utf-8"))
    known = operations(described)
    parts = [HEAD]
    for name, example in examples.items():
        parts += _operation(*known[name], example)
    parts.append("## Objects\n\nWhat requests and answers consist of.\n")
    for name, schema in sorted(described["components"]["schemas"].items()):
        parts += _object(name, schema)
    return "\n".join(parts)


def curl(method: str, ask: str, body: str | None) -> str:
    """The command that asks."""
    words = ["curl"]
    if method != ("GET" if body is None else "POST"):
        words += ["-X", method]
    if body is not None:
        words += ["-H", "'Content-Type: application/json'"]
    words.append(shlex.quote(f"{ADDRESS}{ask}"))
    command = " ".join(words)
    return command if body is None else f"{command} \\\n    -d {shlex.quote(body)}"


def _operation(
    method: str, route: str, operation: dict[str, Any], example: dict[str, str]
) -> Iterator[str]:
    yield f"## {method} {route} {{#{operation['operationId']}}}\n"
    yield f"{operation['summary']}. {operation.get('description', '')}".strip() + "\n"
    if scopes := _scopes(operation):
        yield f"Scope of a key: {' or '.join(f'`{scope}`' for scope in scopes)}.\n"
    if parameters := operation.get("parameters"):
        yield "| parameter | type | what it is |\n|---|---|---|"
        for parameter in sorted(parameters, key=lambda named: not named["required"]):
            row = _row(parameter["name"], parameter["required"], parameter["schema"])
            yield row.replace(" or `null`", "")  # left out, in an address
        yield ""
    if "requestBody" in operation:
        (content,) = operation["requestBody"]["content"].values()
        yield f"Sends {_type(content['schema'])}.\n"
    (status,) = (code for code in operation["responses"] if code.startswith("2"))
    for kind, content in operation["responses"][status].get("content", {}).items():
        what = _type(content["schema"]) if content.get("schema") else f"`{kind}`"
        yield f"Answers {status} with {what}.\n"
    calls = {
        "curl": ("console", f"$ {curl(method, example['ask'], example.get('body'))}"),
        "Python": ("python", example.get("python")),
        "TypeScript": (
            "typescript",
            example.get("typescript") and f"await {example['typescript']}",
        ),
    }
    for label, (language, call) in calls.items():
        if call:
            yield f'=== "{label}"\n\n    ```{language}\n{_indented(call)}\n    ```\n'


def _scopes(operation: dict[str, Any]) -> list[str]:
    """The scopes of which a key needs one."""
    ways = [scopes for way in operation["security"] for scopes in way.values()]
    return list(dict.fromkeys(scope for scopes in ways for scope in scopes))


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _object(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"### {name}\n"
    if schema.get("description"):
        yield f"{schema['description']}\n"
    fields, needed = schema.get("properties", {}), schema.get("required", ())
    if not fields:
        return
    yield "| field | type | what it is |\n|---|---|---|"
    for field, content in fields.items():
        yield _row(field, field in needed, content)
    yield ""


def _row(name: str, needed: bool, schema: dict[str, Any]) -> str:
    shown = f"`{name}`" if needed else f"*`{name}`*"
    return f"| {shown} | {_type(schema)} | {_text(schema)} |"


def _text(described: dict[str, Any]) -> str:
    """A description for a cell of a table; names of other pages become links."""
    text = " ".join(described.get("description", "").split()).replace("|", "\\|")
    return re.sub(r"docs/([\w-]+\.md)", r"[\1](\1)", text)


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(REFERENCE)
        return f"[{name}](#{name.lower()})"
    if "const" in schema or "enum" in schema:
        return " or ".join(
            f"`{json.dumps(value)}`" for value in schema.get("enum", [schema.get("const")])
        )
    if ways := [_type(way) for way in schema.get("anyOf", schema.get("oneOf", ()))]:
        return " or ".join(dict.fromkeys(ways))
    if schema.get("type") == "array":
        of = _type(schema.get("items", {}))
        return "list of " + re.sub(r"\b(boolean|integer|list|number|object|string)\b", r"\1s", of)
    return {"null": "`null`", None: "anything"}.get(schema.get("type"), str(schema.get("type")))
