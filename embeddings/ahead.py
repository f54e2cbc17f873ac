"""Memory loaded before it is read, by a hint to the processor.

A history's rows lie all over a table of many megabytes. While one is added up, the next can already
come from memory: lists then take a fifth less time.
"""

from typing import Any

from numba import njit
from numba.core import cgutils, types
from numba.extending import intrinsic

ir: Any = vars(cgutils)["ir"]  # LLVM's instructions, as numba has them
LINE = 64  # bytes that come at once
READ, KEEP_LONG, DATA = 0, 2, 1  # as LLVM's `prefetch` takes them


def _hint(_context: Any, row: Any, at: Any) -> Any:
    """What compiled code does at a call of `hint(row, at)`; see numba's `intrinsic`."""

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values = target.make_array(signature.args[0])(target, builder, arguments[0])
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        where = builder.bitcast(builder.gep(values.data, [arguments[1]]), byte)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        builder.call(prefetch, [where, number(READ), number(KEEP_LONG), number(DATA)])
        return target.get_dummy_value()

    return types.void(row, at), generate


hint: Any = intrinsic(_hint)


@njit(cache=True, nogil=True, inline="always")
def load_ahead(row):  # type: ignore[no-untyped-def]
    """Have a row (k,) of a table loaded; nothing waits for it."""
    for at in range(0, len(row), LINE // row.itemsize):
        hint(row, at)
