"""The reasons why rows are rejected, and what helps against each."""

from loaders import times

OBJECT = "a list or an object"
REASONS = (
    "",
    "missing id",
    "id too long",
    "control character",
    "not UTF-8",
    "not a number",
    "NaN or infinite",
    "weight not above 0",
    "not a time",
    "negative time",
    "time before 1990",
    "time in the future",
    "time out of range",
    "not yes or no",
    "time in 1970",
    OBJECT,
    "rating off the scale",
)
"""Reasons to reject a row that was split into cells; a row's code is a place in this list."""

HINTS = {
    "not a time": f"what can be read: {times.READ}",
    "time out of range": f"what can be read: {times.READ}; from the year 1000 on",
    "time in 1970": "a small number is not a time; leave such cells empty",
    OBJECT: "say which part is meant, such as --column user=user.id",
    "rating off the scale": "see the scale above, or say which it is: [ratings] scale = [1, 5] in "
    "weighting.toml",
    "quote not closed": "if quotes are ordinary text in this file, say --quote none",
    "missing id": "is it the right column? --column user=NAME",
    "not UTF-8": "say which encoding it is: --encoding latin-1",
}
"""Reason -> what helps against it."""

TOO_SHORT = "row too short"
TOO_LONG = "row too long"
LINE_TOO_LONG = "line too long"
OPEN_QUOTE = "quote not closed"
NOT_JSON = "not a JSON object"
WRONG_COUNT = "count differs from the ids that follow"
UNKNOWN_LINE = "names a line that is not there"
