"""Which extra installs a package that is missing from a base installation."""

from graph.errors import MissingExtra

EXTRA = {  # package -> extra
    "neo4j": "neo4j",
    "ladybug": "explore",
    "matplotlib": "explore",
    "prompt_toolkit": "explore",
    "redis": "redis",
    "sklearn": "segments",
    "torch": "train",
    "torch_geometric": "train",
    "node2vec": "train",
    "gensim": "train",
    "optuna": "train",
    "pyrage": "backup",
    "opentelemetry": "traces",
    "sqlcipher3": "encrypted",
}


def missing_extra(error: ModuleNotFoundError) -> MissingExtra | None:
    """An error that says what to install; None when no extra brings the missing package."""
    package = (error.name or "").partition(".")[0]
    if package not in EXTRA:
        return None
    return MissingExtra(
        f"this needs {package}, which is not installed: install nichegraph[{EXTRA[package]}], "
        f"such as by pip install -e '.[{EXTRA[package]}]'"
    )
