"""Whole numbers in texts that anybody may have written: Python reads digits of every script as
numbers, fails on some of them, and on thousands of digits.
"""

MOST_DIGITS = 18  # fits into 64 bits


def whole_number(text: str) -> int | None:
    """The number that up to `MOST_DIGITS` digits from 0 to 9 mean; None: the text is none."""
    fits = text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS
    return int(text) if fits else None
