"""Dates and times in a query: stored are seconds since 1970, asked is as on Neo4j."""

from graph.explore.cypher_cursor import Piece
from graph.explore.cypher_expressions import MOMENTS
from graph.explore.cypher_operands import Operands
from graph.explore.cypher_times import UNITS, seconds_of, span_of
from graph.explore.cypher_tokens import refuse

TEMPORAL = ("date", "datetime", "localdatetime", "timestamp")
SECONDS = {"weeks": 604_800, "days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1}


class Dates(Operands):
    """Reads date(), datetime(), timestamp(), duration() and date.truncate()."""

    def temporal(self, low: str, given: list[Piece]) -> Piece:
        """A call of one of `TEMPORAL`, of duration, or of …truncate."""
        if low == "duration":
            return self._span(given)
        if low.endswith(".truncate"):
            return self._truncated(low, given)
        kind = "date" if low == "date" else "timestamp"
        if not given:
            return self._now(low, kind)
        seconds = self._written_moment(given)
        if seconds is not None:
            return Piece(self._from_seconds(seconds, kind), kind, seconds=seconds)
        one = given[0]
        if one.entries is not None and set(one.entries) == {"epochSeconds"}:
            return self._from_time(one.entries["epochSeconds"], kind)
        if one.entries is not None and set(one.entries) == {"epochMillis"}:
            millis = one.entries["epochMillis"]
            return self._from_time(Piece(f"({millis.text}) / 1000", "time"), kind)
        if one.kind == "time":
            return self._from_time(one, kind)
        if one.kind in MOMENTS:
            as_date = f"CAST({one.text} AS DATE)" if self.file else f"date({one.text})"
            as_time = f"CAST({one.text} AS TIMESTAMP)" if self.file else f"datetime({one.text})"
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

    def _written_moment(self, given: list[Piece]) -> str | None:
        """The seconds of '2024-12-01', a parameter, or {year: 2024, month: 12}."""
        entries = given[0].entries
        if entries is None:
            return self.moment_of(given[0])
        if "year" not in entries or not all(one.text.isdigit() for one in entries.values()):
            return None
        part = {name: int(one.text) for name, one in entries.items()}
        day = f"{part['year']:04}-{part.get('month', 1):02}-{part.get('day', 1):02}"
        time = f"{part.get('hour', 0):02}:{part.get('minute', 0):02}:{part.get('second', 0):02}"
        seconds = seconds_of(f"{day}T{time}")
        if seconds is None:
            refuse(f"{day} {time} is no date")
        return str(seconds)

    def _from_time(self, one: Piece, kind: str) -> Piece:
        """A moment of stored seconds, which may be null."""
        text = self._from_seconds(one.text, kind)
        if not self.file:
            text = f"(CASE WHEN {one.text} IS NULL THEN null ELSE {text} END)"
        seconds = f"({one.text})" if kind == "timestamp" else f"({one.text}) / 86400 * 86400"
        return Piece(text, kind, seconds=seconds, aggregate=one.aggregate)

    def _from_seconds(self, seconds: str, kind: str) -> str:
        if self.file:
            moment = f"to_timestamp({seconds})"
            return f"CAST({moment} AS DATE)" if kind == "date" else moment
        moment = f"datetime({{epochSeconds: {seconds}}})"
        return f"date({moment})" if kind == "date" else moment

    def _span(self, given: list[Piece]) -> Piece:
        entries = given[0].entries if given else None
        units = span_of(given[0].string or "") if given and entries is None else None
        numbers = all(one.text.isdigit() for one in (entries or {}).values())
        if entries is not None and set(entries) <= set(UNITS) and numbers:
            units = {unit: int(one.text) for unit, one in entries.items()}
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

    def _truncated(self, low: str, given: list[Piece]) -> Piece:
        units = ("year", "quarter", "month", "week", "day", "hour", "minute")
        if len(given) != 2 or given[0].string not in units:
            refuse(f"{low}() takes one of {', '.join(units)} and a date: {low}('month', e.at)")
        kind = "date" if low.startswith("date.") else "timestamp"
        moment = self.as_moment(given[1])
        if given[1].kind not in (*MOMENTS, "time"):
            refuse(f"{low}() takes a date or a time: {low}('month', e.at)")
        if self.file:
            text = f"date_trunc('{given[0].string}', {moment})"
            return Piece(f"CAST({text} AS DATE)" if kind == "date" else text, kind)
        return Piece(f"{low}('{given[0].string}', {moment})", kind)
