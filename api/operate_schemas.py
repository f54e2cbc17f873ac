"""What operators and editors ask and get over HTTP, as the OpenAPI document shows it."""

from typing import Any

from pydantic import BaseModel, Field

from api.schemas import Strict

RELEASE = "Name or number of a release."


class ReleasePath(Strict):
    release: str = Field(max_length=100, description=RELEASE)


class ServeBody(Strict):
    release: str = Field(max_length=100, description=RELEASE)


class ReleaseAnswer(BaseModel):
    release: str = Field(description="Its full name.")


class ReleasesAnswer(BaseModel):
    releases: list[dict[str, Any]] = Field(description="Manifests, oldest first.")
    refused: list[dict[str, Any]] = Field(description="Candidates that were not published.")


class RulesAnswer(BaseModel):
    rules: str = Field(description="`rules.toml` of the home as it stands; empty if there is none.")
    version: str = Field(description="Changes with the text; send it back when you save.")
    problem: str | None = Field(
        description="What is wrong with these rules, if they are not followed."
    )


class SaveRulesBody(Strict):
    rules: str = Field(max_length=100_000, description="As in `rules.toml`.")
    version: str = Field(
        max_length=100, description="The `version` that came with the rules you changed."
    )


class AccessAnswer(BaseModel):
    scopes: list[str] = Field(description="What this caller may do; see `nichegraph keys`.")
