"""The changes that the mutation run makes: each kind once, each as a whole module that compiles."""

import pytest

from benchmarks._mutations import mutations


@pytest.mark.parametrize(
    ("source", "after"),
    [
        ("a < b", {"(a <= b)"}),
        ("a in b", {"(a not in b)"}),
        ("a + b", {"(a - b)"}),
        ("a >> b", {"(a << b)"}),
        ("a and b", {"(a or b)"}),
        ("x = not a", {"(a)"}),
        ("x = -a", {"(a)"}),
        ("x = 3", {"4"}),
        ("x = 0.5", {"1.0"}),
        ("x = 0.0", {"1.0"}),
        ("x = True", {"False"}),
        ("x = min(a)", {"max"}),
        ("x = (a - b).any()", {"(a + b)", "(a - b).all"}),
        ("x = a if b else c", {"(c if b else a)"}),
        ("a += b", {"pass"}),
        ("a(b)", {"pass"}),
        ("if a: b = c", {"(not (a))"}),
        ("while a < b: c = d", {"(a <= b)"}),
        ('x = "words"', set()),
        ("x: int | None = a", set()),
        ("raise ValueError(1 + 2)", set()),
        ('"""Docstring."""', set()),
        ("x = [1, *zip(a, b, strict=True)]", {"2"}),
        ("x = [a] + b", set()),
    ],
)
def test_every_kind_of_change(source, after):
    result = mutations(source)
    assert {change.after for change in result} == after
    for change in result:
        compile(change.source, "changed", "exec")


def test_only_the_changed_part_differs():
    source = "def f(a):\n    läß = a * 2  # a comment\n    return läß < 3\n"
    result = mutations(source)
    assert [(change.line, change.before, change.after) for change in result] == [
        (2, "2", "3"),
        (2, "a * 2", "(a / 2)"),
        (3, "3", "4"),
        (3, "läß < 3", "(läß <= 3)"),
    ]
    assert result[1].source == source.replace("a * 2", "(a / 2)")
