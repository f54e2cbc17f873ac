"""The small changes that can be made to a module, each as the whole module's text with it made.

Comparisons, arithmetic, `and` and `or`, signs, numbers, True and False, conditions, `min` and
`max`, `any` and `all` are changed; calls and updates that stand as statements are removed.
Annotations, decorators, messages of errors, words, and `strict=` of `zip` are not changed.
"""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

COMPARED = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
COMPUTED = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.RShift: ast.LShift, ast.LShift: ast.RShift,
}  # fmt: skip
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "argmin": "argmax",
         "argmax": "argmin"}  # fmt: skip
CHANGED_ITSELF = (ast.Compare, ast.BoolOp, ast.UnaryOp, ast.Constant)  # as conditions


@dataclass(frozen=True)
class Mutation:
    """One change."""

    line: int
    before: str
    after: str
    source: str  # of the whole module


def mutations(source: str) -> list[Mutation]:
    """Every change of a module, by line."""
    raw = source.encode()
    starts = [0]
    for line in raw.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    result = []
    for node in _nodes(ast.parse(source)):
        changes = [(node, text) for text in _changed(node)]
        if isinstance(node, ast.If | ast.While) and not isinstance(node.test, CHANGED_ITSELF):
            changes.append((node.test, f"(not ({ast.unparse(node.test)}))"))
        for part, text in changes:
            begin = starts[part.lineno - 1] + part.col_offset
            end = starts[(part.end_lineno or part.lineno) - 1] + (part.end_col_offset or 0)
            changed = raw[:begin] + text.encode() + raw[end:]
            before = raw[begin:end].decode()
            result.append(Mutation(part.lineno, before, text, changed.decode()))
    return sorted(result, key=lambda mutation: (mutation.line, mutation.before, mutation.after))


def _nodes(node: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    """All that may be changed, from the top down."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.Raise | ast.JoinedStr):
                continue
            if isinstance(child, ast.keyword) and child.arg == "strict":
                continue
            if isinstance(child, ast.Assign) and _names_types(child.value):
                continue
            if isinstance(child, ast.expr | ast.stmt):
                yield child
            yield from _nodes(child)


def _names_types(value: ast.expr) -> bool:
    """Whether an assigned value is a name for a type, such as `Floats = npt.NDArray[…]`."""
    return ast.unparse(value).startswith(("npt.", "Callable[", "Literal[", "Annotated["))


def _changed(node: ast.expr | ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in COMPARED:
        yield _text(node, ops=[COMPARED[type(node.ops[0])]()])
    elif isinstance(node, ast.BinOp) and type(node.op) in COMPUTED and not _joins(node):
        yield _text(node, op=COMPUTED[type(node.op)]())
    elif isinstance(node, ast.BoolOp):
        yield _text(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    elif isinstance(node, ast.UnaryOp):
        yield f"({ast.unparse(node.operand)})"
    elif isinstance(node, ast.Constant) and type(node.value) in (bool, int, float):
        yield repr(_other(node.value))
    elif isinstance(node, ast.Name) and node.id in NAMES:
        yield NAMES[node.id]
    elif isinstance(node, ast.Attribute) and node.attr in NAMES:
        yield f"({ast.unparse(node.value)}).{NAMES[node.attr]}"
    elif isinstance(node, ast.IfExp):
        yield _text(node, body=node.orelse, orelse=node.body)
    elif isinstance(node, ast.AugAssign) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        yield "pass"


def _other(value: bool | float) -> bool | float:
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else value * 2 or 1.0


def _text(node: ast.expr, **changes: object) -> str:
    changed = copy.copy(node)
    for name, value in changes.items():
        setattr(changed, name, value)
    return f"({ast.unparse(changed)})"


def _joins(node: ast.BinOp) -> bool:
    """Whether texts, lists or types are put together: another operator could not even run."""
    for side in (node.left, node.right):
        if isinstance(side, ast.JoinedStr | ast.List | ast.ListComp | ast.Tuple):
            return True
        if isinstance(side, ast.Constant) and not isinstance(side.value, int | float):
            return True
        if isinstance(side, ast.Name) and side.id in ("int", "float", "str", "bool", "list"):
            return True
    return False
