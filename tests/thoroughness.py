"""How much a run of the tests does: the ordinary one in minutes, the thorough one all there is.

`scripts/test --thorough` sets EVTOOL_TEST_THOROUGH. Without it, tests with the marker `thorough` are left out, which say
what others say already, at more moments, in more sizes, or of more kinds; of some of them only cases are left out, which
`but` doesn't name. Hypothesis then looks at a sixth of the examples.
"""

from __future__ import annotations

import fnmatch
import os

import pytest

IS_THOROUGH = bool(os.environ.get("EVTOOL_TEST_THOROUGH"))

_LEAST = 5


def examples(count: int) -> int:
    """How many examples to look at where a thorough run looks at `count`."""
    return count if IS_THOROUGH else max(_LEAST, count // 6)


def is_left_out(item: pytest.Item) -> bool:
    """Whether an ordinary run does without this test, or this case of it."""
    mark = item.get_closest_marker("thorough")
    if mark is None:
        return False
    case = item.name.partition("[")[2].removesuffix("]")
    return not any(fnmatch.fnmatchcase(case, pattern) for pattern in mark.kwargs.get("but", ()))
