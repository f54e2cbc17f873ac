"""Reads dates and times in a query: written as on Neo4j, but stored as seconds since 1970."""

from graph.dates import seconds_of
from graph.explore.cypher_cursor import Piece
from graph.explore.cypher_expressions import MOMENTS
from graph.explore.cypher_operands import Operands
from graph.explore.cypher_times import UNITS, span_of
from graph.explore.cypher_tokens import refuse

TEMPORAL = ("date", "datetime", "localdatetime", "timestamp")
SECONDS = {"weeks": 604_800, "days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1}


class Dates(Operands):
    """Reads date(), datetime(), timestamp(), duration() and date.truncate()."""

    def temporal(self, low: str, arguments: list[Piece]) -> Piece:
        """A call of one of `TEMPORAL`, of duration, or of …truncate."""
        if low == "duration":
            return self._span(arguments)
        if low.endswith(".truncate"):
            return self._truncated(low, arguments)
        kind = "date" if low == "date" else "timestamp"
        if not arguments:
            return self._now(low, kind)
        seconds = self._written_moment(arguments)
        if seconds is not None:
            return Piece(self._from_seconds(seconds, kind), kind, seconds=seconds)
        argument = arguments[0]
        if argument.entries is not None and set(argument.entries) == {"epochSeconds"}:
            return self._from_time(argument.entries["epochSeconds"], kind)
        if argument.entries is not None and set(argument.entries) == {"epochMillis"}:
            millis = argument.entries["epochMillis"]
            return self._from_time(Piece(f"({millis.text}) / 1000", "time"), kind)
        if argument.kind == "time":
            return self._from_time(argument, kind)
        if argument.kind in MOMENTS:
            as_date = f"CAST({argument.text} AS DATE)" if self.file else f"date({argument.text})"
            as_time = (
                f"CAST({argument.text} AS TIMESTAMP)" if self.file else f"datetime({argument.text})"
            )
            return Piece(as_date if kind == "date" else as_time, kind)
        return refuse(
            f"{low}() takes a date such as '2024-12-01', {{epochSeconds: x}}, or a time: e.at"
        )

    def _now(self, low: str, kind: str) -> Piece:
        if low == "timestamp":
            text = "to_epoch_ms(current_timestamp())" if self.file else "timestamp()"
            return Piece(text, "number")
        ours = {"date": "current_date()"}.get(low, "current_timestamp()")
        return Piece(ours if self.file else ("date()" if low == "date" else "datetime()"), kind)

    def _written_moment(self, arguments: list[Piece]) -> str | None:
        """The seconds of '2024-12-01', a parameter, or {year: 2024, month: 12}."""
        entries = arguments[0].entries
        if entries is None:
            return self.moment_of(arguments[0])
        if "year" not in entries or not all(piece.text.isdigit() for piece in entries.values()):
            return None
        part = {name: int(piece.text) for name, piece in entries.items()}
        day = f"{part['year']:04}-{part.get('month', 1):02}-{part.get('day', 1):02}"
        time = f"{part.get('hour', 0):02}:{part.get('minute', 0):02}:{part.get('second', 0):02}"
        seconds = seconds_of(f"{day}T{time}")
        if seconds is None:
            refuse(f"{day} {time} is not a date")
        return str(seconds)

    def _from_time(self, argument: Piece, kind: str) -> Piece:
        """A moment from stored seconds, which may be null."""
        text = self._from_seconds(argument.text, kind)
        if not self.file:
            text = f"(CASE WHEN {argument.text} IS NULL THEN null ELSE {text} END)"
        seconds = (
            f"({argument.text})" if kind == "timestamp" else f"({argument.text}) / 86400 * 86400"
        )
        return Piece(text, kind, seconds=seconds, aggregate=argument.aggregate)

    def _from_seconds(self, seconds: str, kind: str) -> str:
        if self.file:
            moment = f"to_timestamp({seconds})"
            return f"CAST({moment} AS DATE)" if kind == "date" else moment
        moment = f"datetime({{epochSeconds: {seconds}}})"
        return f"date({moment})" if kind == "date" else moment

    def _span(self, arguments: list[Piece]) -> Piece:
        entries = arguments[0].entries if arguments else None
        units = span_of(arguments[0].string or "") if arguments and entries is None else None
        numbers = all(piece.text.isdigit() for piece in (entries or {}).values())
        if entries is not None and set(entries) <= set(UNITS) and numbers:
            units = {unit: int(piece.text) for unit, piece in entries.items()}
        if not units:
            refuse("duration() takes {days: 7}, {hours: 12}, or a span such as 'P7D'")
        fixed = not set(units) & {"years", "months"}
        seconds = sum(SECONDS[unit] * n for unit, n in units.items()) if fixed else None
        days = dict(units)
        if "weeks" in days and self.file:
            days["days"] = days.get("days", 0) + 7 * days.pop("weeks")
        words = " ".join(f"{n} {unit}" for unit, n in days.items())
        own = ", ".join(f"{unit}: {n}" for unit, n in units.items())
        text = f"interval('{words}')" if self.file else f"duration({{{own}}})"
        return Piece(text, "span", seconds=None if seconds is None else str(seconds))

    def _truncated(self, low: str, arguments: list[Piece]) -> Piece:
        units = ("year", "quarter", "month", "week", "day", "hour", "minute")
        if len(arguments) != 2 or arguments[0].string not in units:
            refuse(f"{low}() takes one of {', '.join(units)} and a date: {low}('month', e.at)")
        kind = "date" if low.startswith("date.") else "timestamp"
        moment = self.as_moment(arguments[1])
        if arguments[1].kind not in (*MOMENTS, "time"):
            refuse(f"{low}() takes a date or a time: {low}('month', e.at)")
        if self.file:
            text = f"date_trunc('{arguments[0].string}', {moment})"
            return Piece(f"CAST({text} AS DATE)" if kind == "date" else text, kind)
        return Piece(f"{low}('{arguments[0].string}', {moment})", kind)
