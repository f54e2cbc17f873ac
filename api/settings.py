"""Every setting once: name, default, one line of help.

A setting comes from the command line, else from `NICHEGRAPH_<NAME>` in the environment, else
from `settings.toml` in the home folder, else from the default that stands here.
"""

import difflib
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ByteSize, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from graph.errors import SettingError
from graph.toml_file import read_toml

PURPOSES = ("personalise", "train", "track")  # as `recommender.inbox.facts` has them
PREFIX = "NICHEGRAPH_"
NOT_SETTINGS = (f"{PREFIX}PYTHON", f"{PREFIX}TRACEBACK")  # read by ./run, and by --debug
SECRETS = {"neo4j_password", "console_password"}
DEFAULT_HOME = Path("nichegraph-home")


def _named_purposes(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")] if text.strip() != "none" else []


def _purposes(text: str) -> str:
    for name in _named_purposes(text):
        if name not in PURPOSES:
            known = ", ".join(PURPOSES)
            raise ValueError(f"{name!r} is not a purpose; choose from: {known}, or `none`")
    return text


class Settings(BaseSettings):
    """What can be set; the description of each field is its help."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    home: Path = Field(DEFAULT_HOME, description="folder that holds everything of one catalogue")
    store: str = Field(
        "embedded",
        description="where the graph lives: `embedded`, or the URI of a Neo4j server "
        "(`bolt://…`, `neo4j://…`)",
    )
    neo4j_user: str = Field("neo4j", description="user name at the Neo4j server")
    neo4j_password: SecretStr | None = Field(None, description="password at the Neo4j server")
    neo4j_password_file: Path | None = Field(
        None, description="file whose first line is the password at the Neo4j server"
    )
    neo4j_database: str = Field("neo4j", description="database at the Neo4j server")
    neo4j_deadline: float = Field(
        5.0, ge=1, le=600, description="seconds a small call to the Neo4j server may take"
    )
    max_rejects: float = Field(
        0.05, ge=0, le=1, description="share of rejected rows above which a load stops"
    )
    max_rejects_kept: int = Field(
        100_000, ge=0, description="rows that a load writes into its file of rejects, at most"
    )
    max_unpacked_bytes: int = Field(
        1 << 36, ge=1, description="bytes that may come out of one file of a load"
    )
    max_hidden: float = Field(
        0.1, ge=0, le=1, description="share of the items shown that `load --replace` may hide"
    )
    refresh_threads: int = Field(
        2, ge=1, le=64, description="threads of a refresh; with 1, the same data, seed and last "
        "release give the same bytes",
    )  # fmt: skip
    refresh_memory: ByteSize | None = Field(
        None, description="memory that a refresh may take, such as `8GB`: it does not begin if it "
        "expects to need more than this, or than is free; empty: as much as is free",
    )  # fmt: skip
    keep_releases: int = Field(
        5, ge=0, le=10_000, description="how many of the newest releases a refresh keeps, "
        "besides the served and pinned ones; 0: all",
    )  # fmt: skip
    node2vec_engine: Literal["fast", "package"] = Field(
        "fast",
        description="for the preset graph: our own random walks, or the node2vec package (for "
        "small graphs)",
    )
    node2vec_metapath: str = Field(
        "",
        description="types of nodes that walks visit in turn, such as `item tag item "
        "user`; empty: any edge",
    )
    host: str = Field("127.0.0.1", description="address the server listens on")
    port: int = Field(8000, ge=0, le=65535, description="port the server listens on")
    tls_cert: Path | None = Field(
        None, description="file of the certificate and its chain (PEM): the server speaks HTTPS"
    )
    tls_key: Path | None = Field(None, description="file of the key of `tls_cert` (PEM)")
    bind_anywhere: bool = Field(
        False,
        description="allow a `host` beyond loopback without API keys; for containers "
        "whose port is published on loopback only",
    )
    allowed_hosts: str = Field(
        "",
        description="names, separated by commas, that a request's Host header may have "
        "besides localhost and loopback addresses",
    )
    cors_origins: str = Field(
        "",
        description="origins such as `https://shop.example`, separated by commas, whose scripts "
        "may read answers in a browser; empty: none",
    )
    redis_url: str = Field(
        "",
        description="`redis://…` of a Redis where workers count limits together and "
        "share answers; empty: each worker counts its share and keeps its "
        "own",
    )
    cache_bytes: int = Field(
        64_000_000, ge=0, description="bytes of answers that one worker keeps, at most; 0: none"
    )
    cache_seconds: float = Field(
        3600, ge=60, le=86_400, description="seconds an answer is kept, at most"
    )
    public_seconds: int = Field(
        60,
        ge=0,
        le=86_400,
        description="seconds for which others, such as a CDN, may keep lists that are "
        "not about a person; 0: they ask each time",
    )
    requests_per_second: float = Field(
        0,
        ge=0,
        description="requests per second that a key, or else an address, may send; 0: no limit",
    )
    items_per_second: float = Field(
        0,
        ge=0,
        description="items per second that a key, or else an address, may ask for: lists times "
        "their length, and events sent; nobody may ask for more at once; 0: no limit",
    )
    max_in_flight: int = Field(
        64,
        ge=1,
        description="requests that one process has under way, and bodies of requests that it waits "
        "for; beyond that the answer is 503",
    )
    workers: int = Field(2, ge=1, le=64, description="processes that answer requests")
    threads: int = Field(2, ge=1, le=64, description="requests one process works on at once")
    max_body_bytes: int = Field(
        4_000_000, ge=1_000, le=100_000_000, description="largest request body"
    )
    inbox_bytes: int = Field(
        2_000_000_000,
        ge=1_000_000,
        description="size of the journal at which writes are answered with 503",
    )
    inbox_free_bytes: int = Field(
        200_000_000,
        ge=0,
        description="free bytes on the journal's disk below which writes are answered with 503",
    )
    journal_key_file: Path | None = Field(
        None,
        description="file outside the home with a key, 64 hexadecimal digits, with which the "
        "journal and what was shown are encrypted (extra `encrypted`)",
    )
    session_minutes: float = Field(
        30.0, gt=0, le=1440, description="minutes without an event after which a session ends"
    )
    erasure_log: Path | None = Field(
        None,
        description="file outside the home and its backups, where each erasure leaves a keyed "
        "digest: a home restored from a backup erases those people again before it serves",
    )
    audit_head: Path | None = Field(
        None,
        description="file outside the home, on another disk if possible, with the head of the "
        "audit log: `audit verify` compares the log with it",
    )
    consent_default: Annotated[str, AfterValidator(_purposes)] = Field(
        "personalise, train, track",
        description="purposes, separated by commas, that count as agreed to by users who have "
        "not said: `personalise` their lists, `train` a refresh with what they did, `track` their "
        "events; or `none`",
    )
    request_seconds: float = Field(
        10.0, gt=0, le=3600, description="seconds a request for many subjects may take"
    )
    console_enabled: bool = Field(
        False,
        description="answer `POST /v1/cypher`: queries that read, users as pseudonyms; "
        "without API keys on loopback only",
    )
    console_user: str = Field(
        "",
        description="user name at the Neo4j server for queries of the console; empty: the store's",
    )
    console_password: SecretStr | None = Field(None, description="password of `console_user`")
    console_password_file: Path | None = Field(
        None, description="file whose first line is the password of `console_user`"
    )
    similar_users_enabled: bool = Field(
        False,
        description="answer `GET /v1/users/{user}/similar` and `similar_to`: what the "
        "most similar users have in common, never of fewer than 20; without"
        " API keys on loopback only",
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="form of the server's log lines"
    )
    request_log: float = Field(
        0, ge=0, le=1, description="share of the requests that get a log line with route, status, "
        "milliseconds, release and request id, and no id of a person: 1 all, 0.01 one in a hundred",
    )  # fmt: skip
    traces_url: str = Field(
        "", description="address of an OpenTelemetry collector for OTLP over HTTP, such as "
        "`http://127.0.0.1:4318/v1/traces`: each request is traced; empty: none",
    )  # fmt: skip
    traces_share: float = Field(
        1.0, ge=0, le=1, description="share of the traces that is sent to `traces_url`"
    )
    access_log: bool = Field(
        False, description="a log line for each request; its path may contain the id of a user"
    )
    trusted_proxies: str = Field(
        "",
        description="addresses or networks, separated by commas, of proxies whose "
        "`X-Forwarded-Prefix`, `X-Forwarded-For` and `X-Forwarded-Proto` are believed",
    )

    @property
    def agreed(self) -> frozenset[str]:
        """The purposes of `consent_default`."""
        return frozenset(_named_purposes(self.consent_default))


def load_settings(home: Path | None = None, **options: Any) -> Settings:
    """Settings from `options`, the environment and the home's file; None counts as not given.

    Raises:
        SettingError: a value does not fit or a name is not known; the message names it.
    """
    _check_names_in_environment()
    if home is None:
        home = Path(os.environ.get(f"{PREFIX}HOME") or DEFAULT_HOME)
    file = home / "settings.toml"
    written = read_toml(file)

    class FromHere(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, InitSettingsSource(settings_cls, written)

    chosen = {name: value for name, value in options.items() if value is not None}
    try:
        return FromHere(home=home, **chosen)
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingError(_sentence(first, file)) from error


def _check_names_in_environment() -> None:
    for name in os.environ:
        if not name.upper().startswith(PREFIX) or name.upper() in NOT_SETTINGS:
            continue
        own = name.upper().removeprefix(PREFIX).lower()
        if own not in Settings.model_fields:
            near = difflib.get_close_matches(own, Settings.model_fields, 1)
            hint = (
                f"did you mean {PREFIX}{near[0].upper()}?"
                if near
                else "docs/settings.md lists them all"
            )
            raise SettingError(f"there is no setting {name} (in the environment); {hint}")


def environment(settings: Settings) -> dict[str, str]:
    """The environment that gives another process these settings; secrets stay where they are."""
    values = settings.model_dump(
        mode="json", exclude={"neo4j_password", "console_password"}, exclude_none=True
    )
    return {f"{PREFIX}{name.upper()}": str(value) for name, value in values.items()}


def _sentence(first: Any, file: Path) -> str:
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, Settings.model_fields, 1)
        hint = f"; did you mean {near[0]!r}?" if near else "; docs/settings.md lists them all"
        return f"there is no setting {name!r} ({file}){hint}"
    value = "" if "password" in name else f", not {first['input']!r}"
    problem = first["msg"][0].lower() + first["msg"][1:]
    return f"setting {name!r} ({PREFIX}{name.upper()}): {problem}{value}"
