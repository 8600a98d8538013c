"""kill -9 of the client and of the server at random moments of imports, exports and copies; scripts/soak does hundreds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults import soaking
from tests.faults.rig import Rig, rig

# The others differ from these in what scripts/soak is for: many of them.
_DOZEN = [
    case
    for case in soaking.CASES
    if (case.kind == "postgres" and (case.operation != "copy" or case.victim == "client"))
    or (case.kind != "postgres" and case.operation == "resume")
]


@pytest.fixture(scope="module")
def killable() -> Iterator[Rig]:
    """A database of each kind, and a server that may be killed."""
    with rig() as made:
        yield made


@pytest.mark.parametrize("case", _DOZEN, ids=str)
def test_after_a_kill_the_target_is_as_before_or_complete(killable: Rig, case: soaking.Case) -> None:
    """And the same command, run again, gives the same bytes as an undisturbed run."""
    assert soaking.trial(killable, case, seed=1) in {
        "finished first",
        "undone",
        "whole",
        "stopped between batches",
        "went on",
    }
