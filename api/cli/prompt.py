"""The prompt of `nichegraph explore`: statements of one line or several, one after the other."""

import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from api.cli.explore import (
    parameters,
    say_examples,
    show,
    show_questions,
    typed,
)
from api.cli.output import say
from graph.errors import InputError, NichegraphError, QueryRefused
from graph.explore.console import Console, QueryResult
from graph.explore.cypher_guard import check
from graph.explore.cypher_words import LABELS, PROPERTIES, SAME, TYPES
from graph.explore.drawing import draw
from graph.explore.questions import filled, question, questions

HELP = """A query may take several lines; it ends with a semicolon, or as soon as it is complete.
:list              the ready-made questions
:ask NAME k=v …    one of them; values may hold spaces
:param k=v …       values for $k in queries; alone it shows them
:schema            labels, relationships and properties
:draw FILE         the last result's graph as .svg or .png
:quit              leave"""
COMMANDS = (":list", ":ask", ":param", ":schema", ":draw", ":help", ":quit")
LEAVE = (":quit", ":q", ":exit", "quit", "exit", "\\q")
CLAUSES = (
    "MATCH", "OPTIONAL", "WHERE", "WITH", "UNWIND", "RETURN", "DISTINCT", "ORDER BY", "DESC",
    "SKIP", "LIMIT", "UNION", "EXISTS", "COUNT", "AND", "OR", "NOT", "IN", "STARTS WITH",
    "ENDS WITH", "CONTAINS", "CASE", "WHEN", "THEN", "ELSE", "END", "NULL", "AS",
)  # fmt: skip
GOES_ON = re.compile(
    r"\s*(?:(?:WHERE|ORDER|SKIP|LIMIT|UNION|AND|OR|XOR)\b|[,)\]}|<>=+-])", re.IGNORECASE
)
CLAUSE = re.compile(r"\s*(?:RETURN|WITH|OPTIONAL|UNWIND)\b", re.IGNORECASE)
RETURNS = re.compile(r"\bRETURN\b", re.IGNORECASE)  # nothing but its order and its end follow it


class Prompt:
    """Reads queries one after the other, with history and completion."""

    def __init__(
        self,
        console: Console,
        releases: Mapping[str, int],
        parameters_so_far: Mapping[str, Any] | None = None,
        *,
        privacy: bool,
    ) -> None:
        """Ask `console`; `privacy` shows users by name, `given` are values for parameters."""
        self._console, self._privacy, self._releases = console, privacy, releases
        self._parameters = dict(parameters_so_far or {})
        self._last: QueryResult | None = None

    def run(self) -> None:
        """Until :quit or the end of the input."""
        say("Cypher, read-only; :help says more, :quit leaves")
        for statement in self._statements():
            if statement.lower() in LEAVE:
                return
            try:
                self.answer(statement)
            except NichegraphError as error:
                say(str(error))

    def answer(self, statement: str) -> None:
        """Do what one statement says and print what it gives."""
        word, _, argument = statement.partition(" ")
        if not statement:
            return
        if word == ":help":
            for part in HELP.splitlines():
                say(part)
        elif word == ":list":
            show_questions("table")
        elif word == ":schema":
            say(f"nodes: {', '.join(LABELS)}")
            say(f"relationships: {', '.join(TYPES)}")
            say(f"properties: {', '.join(PROPERTIES)}")
        elif word == ":draw":
            if self._last is None:
                raise InputError("there is no result yet")
            say(f"{draw(self._last.rows, Path(argument.strip()))} nodes drawn")
        elif word == ":param":
            self._parameters |= typed(parameters(words_of(argument)))
            say(", ".join(f"{name}={value}" for name, value in self._parameters.items()) or "none")
        elif word == ":ask":
            self._ask_question(*(words_of(argument) or [""]))
        elif statement.startswith(":"):
            raise InputError(f"{word} is unknown; :help says more")
        else:
            self._ask(statement, self._parameters)

    def _ask_question(self, name: str, *texts: str) -> None:
        chosen = question(name)
        named = parameters(texts)
        values = filled(chosen, named, self._releases)
        say_examples(chosen, named, values)
        self._ask(chosen.query, values)

    def _ask(self, query: str, values: dict[str, Any]) -> None:
        self._last = self._console.run(query, values, privacy=self._privacy)
        show(self._last, "table")

    def _statements(self) -> Iterator[str]:
        if sys.stdin.isatty():
            return statements(self._reader(), looks_ahead=False)
        return statements(lambda _: input(), looks_ahead=True)

    def _reader(self) -> Callable[[str], str]:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.completion import Completer, Completion
        from prompt_toolkit.history import FileHistory

        class FromHere(Completer):
            def get_completions(self, document: Any, complete_event: Any) -> Iterator[Completion]:
                del complete_event
                for word, length in suggestions(document.text_before_cursor):
                    yield Completion(word, start_position=-length)

        history = FileHistory(str(self._console.folder / "history"))
        session: PromptSession[str] = PromptSession(history=history, completer=FromHere())
        return session.prompt


def statements(read: Callable[[str], str], *, looks_ahead: bool) -> Iterator[str]:
    """Join lines into statements: a statement goes on until its query is complete.

    Args:
        read: called with a prompt, gives the next line; EOFError ends, KeyboardInterrupt drops the
            lines so far.
        looks_ahead: whether a line that can only continue a query joins the one before it, as lines
            from a pipe need; at a terminal, pasted text is one line with breaks in it.
    """
    lines: list[str] = []
    ahead: str | None = None
    while True:
        try:
            line = ahead if ahead is not None else read("   ...> " if lines else "cypher> ")
        except KeyboardInterrupt:
            lines = []
            continue
        except EOFError:
            if lines:
                yield "\n".join(lines).strip()
            return
        ahead = None
        alone = not lines and (line.strip().startswith(":") or line.strip().lower() in LEAVE)
        if lines and not line.strip():
            yield "\n".join(lines).strip()
            lines = []
            continue
        lines.append(line)
        text = "\n".join(lines).strip()
        if not alone and text and not text.endswith(";"):
            if not is_whole(text):
                continue
            if looks_ahead:
                try:
                    ahead = read("")
                except EOFError:
                    yield text
                    return
                if GOES_ON.match(ahead) or (CLAUSE.match(ahead) and not RETURNS.search(text)):
                    continue
        yield text
        lines = []


def is_whole(text: str) -> bool:
    """Whether a query can be run, or is wrong in a way that no further line can mend."""
    try:
        check(text, "ladybug")
    except QueryRefused as error:
        return not any(sign in str(error) for sign in ("it ends", "opened but not closed"))
    return True


def words_of(text: str) -> list[str]:
    """The words of a command; `name=two words` is one, with or without quotes."""
    try:
        parts = shlex.split(text)
    except ValueError as error:
        raise InputError(f"a quote is opened but not closed in {text!r}") from error
    words: list[str] = []
    for part in parts:
        if "=" not in part and words and "=" in words[-1]:
            words[-1] += f" {part}"
        else:
            words.append(part)
    return words


def suggestions(text: str) -> list[tuple[str, int]]:
    """What may come next: each word, and how many of its letters are typed already."""
    match = re.search(r"[:\w`-]*$", text)
    begun = match[0] if match else ""
    before = text[: len(text) - len(begun)]
    if text.startswith(":"):
        if not before.strip():
            return _fitting(COMMANDS, begun)
        if before.startswith(":ask") and len(before.split()) <= 1:
            return _fitting(tuple(questions()), begun)
        if before.startswith(":ask") and before.split()[1] in questions():
            own = questions()[before.split()[1]].parameters
            return _fitting(tuple(f"{name}=" for name in own), begun)
        return []
    head, colon, last = begun.rpartition(":")
    if colon:  # inside a pattern: a label, or a type of relationship
        opened = max(text.rfind("("), text.rfind("[")), text.rfind("[") > text.rfind("(")
        return _fitting(TYPES if opened[1] else LABELS, last) if head or opened[0] >= 0 else []
    if before.endswith("|"):
        return _fitting(TYPES if text.rfind("[") > text.rfind("(") else LABELS, begun)
    if before.endswith("."):
        return _fitting(PROPERTIES, begun)
    if not begun:
        return []
    functions = tuple(f"{name}(" for name in sorted(SAME))
    return _fitting((*CLAUSES, *functions), begun)


def _fitting(words: tuple[str, ...], begun: str) -> list[tuple[str, int]]:
    return [(word, len(begun)) for word in words if word.lower().startswith(begun.lower())]
