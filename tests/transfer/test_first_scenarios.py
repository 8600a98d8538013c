"""The scenarios of the two plans for exports and imports that this project began with, and which test holds each here.

The plans were written for a server that speaks HTTP: what they ask of it is asked of the command here. Laws of
evtool.testing.contract, and the scenarios of this folder, run on every store.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAWS = "evtool/testing/contract/"
EXPORTS = "tests/transfer/test_export_scenarios.py::"
IMPORTS = "tests/transfer/test_import_scenarios.py::"

_POSITIONS_KEPT = [
    f"{LAWS}importing.py::test_messages_keep_their_positions_and_gaps",
    f"{LAWS}importing.py::test_every_field_is_kept",
]
_POSITION_TAKEN = [
    f"{LAWS}importing.py::test_a_clash_with_the_store_is_refused_with_line_and_value",
    f"{LAWS}importing.py::test_a_clash_within_the_file_is_refused_the_same",
]
_ROUND_TRIP = f"{EXPORTS}test_an_export_and_its_import_are_the_same_messages"
_FILTERS = f"{EXPORTS}test_filters_choose_what_they_say"
_WRONG_LINE = f"{IMPORTS}test_a_wrong_line_ends_an_import_by_its_number_and_nothing_stays"
_PROGRESS = f"{IMPORTS}test_progress_is_told_every_thousand_messages_and_at_the_end"
_FILE_OR_INPUT = f"{IMPORTS}test_a_file_and_standard_input_are_imported"
_MEMORY = [
    "tests/faults/test_memory.py::test_memory_stays_constant",
    "tests/faults/test_memory_of_local_stores.py::test_an_import_takes_the_same_memory_at_any_size",
]

# The first plan.
PHASES: dict[str, dict[str, list[str]]] = {
    "a batch into a store": {
        "positions are kept in SQLite": _POSITIONS_KEPT,
        "positions are kept in PostgreSQL": _POSITIONS_KEPT,
        "positions are kept in LMDB": _POSITIONS_KEPT,
        "a global position that is taken is refused by SQLite": _POSITION_TAKEN,
        "a global position that is taken is refused by PostgreSQL": _POSITION_TAKEN,
        "a global position that is taken is refused by LMDB": _POSITION_TAKEN,
        "positions with gaps": [
            f"{LAWS}importing.py::test_messages_keep_their_positions_and_gaps",
            f"{IMPORTS}test_positions_far_apart_are_kept",
        ],
        "an error rolls all of it back": [f"{LAWS}importing.py::test_a_fault_in_the_file_leaves_nothing"],
    },
    "the endpoint of imports": {
        "a stream of valid NDJSON is taken": [_FILE_OR_INPUT],
        "progress is told in events": [_PROGRESS],
        "the end is told with the count": [_PROGRESS],
        "a line that is no JSON is an error": [_WRONG_LINE],
        "a position that is taken is an error": [_WRONG_LINE],
        "who may not import is refused": [
            "tests/cli/test_exit_codes.py::test_a_stranger_may_neither_export_nor_import",
            "tests/cli/test_exit_codes.py::test_readers_export_and_writers_write_but_neither_imports",
            "tests/transfer/test_import_options.py::test_a_writer_may_not_import",
        ],
        "an empty body": [f"{IMPORTS}test_nothing_at_all_is_imported_without_an_error"],
        "batches of a thousand": [
            f"{IMPORTS}test_batches_are_kept_where_they_are_asked_for",
            "tests/transfer/test_import_options.py::test_every_thousand_messages_are_a_batch_if_so_asked",
        ],
    },
    "the command of exports": {
        "valid NDJSON": [f"{EXPORTS}test_an_export_is_valid_ndjson"],
        "categories": [_FILTERS],
        "from a day on": [_FILTERS],
        "before a day": [_FILTERS],
        "categories and times together": [_FILTERS],
        "a valid gzip": [f"{EXPORTS}test_gzip_is_a_valid_gzip"],
        "to standard output": [f"{EXPORTS}test_standard_output_and_a_file_get_the_same"],
        "to a file": [f"{EXPORTS}test_standard_output_and_a_file_get_the_same"],
        "all, without a category": [f"{EXPORTS}test_an_export_is_valid_ndjson", _FILTERS],
    },
    "the command of imports": {
        "a file is sent piece by piece": [_FILE_OR_INPUT, *_MEMORY],
        "gzip is decompressed": [_FILE_OR_INPUT],
        "progress is shown": [
            _PROGRESS,
            "tests/transfer/test_import_options.py::test_a_terminal_sees_a_bar_by_bytes_of_the_file",
        ],
        "errors of the server": [
            f"{IMPORTS}test_a_store_that_is_not_there_is_said",
            "tests/faults/test_interrupted.py::test_an_import_whose_server_session_ends_is_undone",
        ],
        "from standard input": [_FILE_OR_INPUT],
        "from a file": [_FILE_OR_INPUT],
    },
    "both together": {
        "out and in again": [_ROUND_TRIP],
        "every field survives": [_ROUND_TRIP, "tests/properties/test_round_trip.py::test_export_import_export_gives_equal_bytes"],
        "with gzip": [_ROUND_TRIP],
        "with a category": [f"{EXPORTS}test_a_slice_is_brought_home_at_its_positions"],
        "with a time": [f"{EXPORTS}test_a_slice_is_brought_home_at_its_positions"],
        "a large file in constant memory": _MEMORY,
        "from one namespace to another": [
            f"{EXPORTS}test_a_slice_is_brought_home_at_its_positions",
            f"{EXPORTS}test_an_export_of_one_store_is_an_import_of_another",
        ],
    },
}  # fmt: skip

# The testing section of the second, with its table of errors and what it puts off.
TESTING: dict[str, list[str]] = {
    "a message into each store": _POSITIONS_KEPT,
    "out and in again keeps the data": [
        _ROUND_TRIP,
        "tests/contract/test_round_trips.py::test_messages_survive_the_way_from_store_to_store",
    ],
    "options are understood": [
        _FILTERS,
        "tests/cli/test_help.py::test_every_command_has_a_help_with_an_example",
    ],
    "wrong options are told": [
        "tests/cli/test_help.py::test_wrong_usage_is_exit_code_2_without_connecting",
        "tests/transfer/test_import_options.py::test_what_does_not_go_together_is_a_usage_error",
    ],
    "categories without messages": [_FILTERS],
    "categories without a name": [f"{EXPORTS}test_a_filter_without_a_name_is_a_mistake"],
    "times that exclude all": [_FILTERS],
    "positions far apart": [f"{IMPORTS}test_positions_far_apart_are_kept"],
    "Unicode": [f"{IMPORTS}test_text_in_any_script_is_kept", _ROUND_TRIP],
    "a network error is tried again, from the last position": [
        "tests/transfer/test_lost_connections.py::test_an_export_goes_on_behind_its_last_line",
        "tests/transfer/test_lost_connections.py::test_a_loss_before_the_first_line_is_a_loss_as_well",
    ],
    "a line that is no JSON is named": [_WRONG_LINE],
    "a position that is taken is named": [_WRONG_LINE],
    "a time that can't be is named": [_WRONG_LINE],
    "later: a stream out of the server": ["tests/transfer/test_export.py::test_an_export_is_one_snapshot"],
    "later: increments": [
        "tests/transfer/test_manifest.py::test_an_increment_on_the_command_line",
        "tests/transfer/test_storm.py::test_increments_of_a_category_are_the_category",
    ],
    "later: compression": ["tests/transfer/test_compression.py::test_what_is_written_others_can_read"],
    "later: an import goes on": ["tests/contract/test_resuming.py::test_the_same_command_goes_on_to_the_same_end"],
}

_SCENARIOS = {
    **{f"{phase}: {what}": tests for phase, scenarios in PHASES.items() for what, tests in scenarios.items()},
    **TESTING,
}


def test_there_are_38_scenarios() -> None:
    """No scenario of the first plan is missing."""
    assert [len(scenarios) for scenarios in PHASES.values()] == [8, 8, 9, 6, 7]
    assert len(_SCENARIOS) == 38 + len(TESTING)


@pytest.mark.parametrize("scenario", _SCENARIOS)
def test_every_scenario_is_held(scenario: str) -> None:
    """Each scenario names tests that are there."""
    holders = _SCENARIOS[scenario]
    assert holders
    for holder in holders:
        path, _, name = holder.partition("::")
        tree = ast.parse((ROOT / path).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, holder
