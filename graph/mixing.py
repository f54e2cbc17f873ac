"""Makes random bits from a number: the same on every machine and for any number of threads.

The finaliser of SplitMix64 (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195).
"""

from typing import Any

import numpy as np
from numba import njit

from graph.arrays import U64

GAMMA = np.uint64(0x9E3779B97F4A7C15)  # the step from one number of the sequence to the next
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_U27, _U30, _U31 = np.uint64(27), np.uint64(30), np.uint64(31)


def _finalised(z: Any) -> Any:
    z = (z ^ (z >> _U30)) * _MIX_1
    z = (z ^ (z >> _U27)) * _MIX_2
    return z ^ (z >> _U31)


def mixed(values: U64) -> U64:
    """64 well mixed bits for each value."""
    result: U64 = _finalised(values)
    return result


mixed_bits = njit(cache=True, nogil=True)(_finalised)
"""The same for one value, in compiled code."""
