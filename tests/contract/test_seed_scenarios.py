"""The 67 scenarios of the storage plan that this project began with, and the test that holds each of them here.

The plan was written for another language, with two stores; a scenario about its code is held by what it was there for.
Laws of evtool.testing.contract run on every store, so that one of them often holds a scenario of both.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from evtool.testing import contract

ROOT = Path(__file__).parents[2]
LAWS = ROOT / "evtool" / "testing" / "contract"

# A name without a folder is a law of evtool.testing.contract.
SCENARIOS: dict[str, tuple[str, list[str]]] = {
    # 1: migrations, the interface, its types
    "1A_T1": ("migrating makes the table of versions", [
        "migrations.py::test_migrating_makes_the_registry_and_the_default_namespace"]),
    "1A_T2": ("pending migrations are applied", [
        "before_migrating.py::test_migrating_makes_it_work",
        "tests/sqlite/test_versions.py::test_an_older_layout_waits_for_migrate"]),
    "1A_T3": ("applied migrations are skipped", ["migrations.py::test_migrating_again_changes_nothing"]),
    "1A_T4": ("the schema's name is put into a namespace's SQL", [
        "tests/contract/test_postgres_schemas.py::test_a_namespace_is_a_schema_with_its_own_tables_and_functions"]),
    "1A_T5": ("version and moment are recorded", [
        "migrations.py::test_migrating_records_versions_and_moments",
        "tests/contract/test_postgres_schemas.py::test_a_namespace_is_entered_with_its_version_and_its_moment"]),
    "1A_T6": ("a message and its JSON", [
        "writing.py::test_a_message_is_read_as_it_was_written",
        "exporting.py::test_a_line_is_the_message_that_a_read_returns"]),
    "1A_T7": ("the result of a write", ["writing.py::test_the_first_position_of_a_stream_is_0_and_each_next_is_one_more"]),
    "1A_T8": ("options of stream reads are validated", [
        "reading_streams.py::test_checks_come_in_order",
        "refusals.py::test_a_number_beyond_a_bigint_is_an_invalid_argument"]),
    "1A_T9": ("options of category reads are validated", [
        "reading_categories.py::test_checks_come_in_order",
        "consumer_groups.py::test_a_group_that_can_not_be_is_refused"]),
    # 2: PostgreSQL, its namespaces
    "2A_T1": ("the store is made and connects", [
        "tests/contract/test_postgres_schemas.py::test_a_store_connects_when_it_is_first_used"]),
    "2A_T2": ("closing cleans up", ["tests/contract/test_postgres_schemas.py::test_closing_closes_every_connection"]),
    "2A_T3": ("a namespace is a schema", [
        "tests/contract/test_postgres_schemas.py::test_a_namespace_is_a_schema_with_its_own_tables_and_functions"]),
    "2A_T4": ("a new namespace is migrated", ["migrations.py::test_a_new_namespace_is_made_current"]),
    "2A_T5": ("a new namespace is in the registry", [
        "tests/contract/test_postgres_schemas.py::test_a_namespace_is_entered_with_its_version_and_its_moment"]),
    "2A_T6": ("deleting drops the schema", [
        "tests/contract/test_postgres_schemas.py::test_deleting_a_namespace_drops_its_schema_and_its_entry"]),
    "2A_T7": ("deleting removes it from the registry", [
        "tests/contract/test_postgres_schemas.py::test_deleting_a_namespace_drops_its_schema_and_its_entry"]),
    "2A_T8": ("a namespace is found", ["namespaces.py::test_a_namespace_is_found_with_its_name_schema_and_time"]),
    "2A_T9": ("namespaces are listed", ["namespaces.py::test_namespaces_are_listed_in_the_order_of_their_bytes"]),
    # 3: PostgreSQL, its messages
    "3A_T1": ("a write goes to its schema", [
        "tests/contract/test_postgres_schemas.py::test_a_message_is_written_to_the_schema_of_its_namespace"]),
    "3A_T2": ("position and global position are assigned", [
        "writing.py::test_global_positions_begin_at_1_and_ascend_over_all_streams"]),
    "3A_T3": ("the expected version is right", ["expected_version.py::test_the_right_version_is_written"]),
    "3A_T4": ("the expected version is wrong", ["expected_version.py::test_a_wrong_version_is_refused_with_both_versions"]),
    "3A_T5": ("positions are incremented", ["writing.py::test_the_first_position_of_a_stream_is_0_and_each_next_is_one_more"]),
    "3A_T6": ("a stream is read", ["reading_streams.py::test_a_stream_is_read_in_the_order_of_its_positions"]),
    "3A_T7": ("a stream is read from a position, so many at a time", [
        "reading_streams.py::test_reading_begins_at_the_position",
        "reading_streams.py::test_a_batch_has_the_size_that_was_asked_for"]),
    "3A_T8": ("a category is read from several streams", [
        "reading_categories.py::test_a_category_has_the_messages_of_all_its_streams_in_global_order"]),
    "3A_T9": ("a category is read by a consumer group", [
        "consumer_groups.py::test_members_share_out_everything_and_nothing_twice"]),
    "3A_T10": ("a consumer group partitions streams", [
        "consumer_groups.py::test_every_stream_has_the_member_that_its_cardinal_id_hashes_to"]),
    "3A_T11": ("the last message of a stream", [
        "last_message.py::test_the_last_message_of_a_stream_is_the_one_with_the_greatest_position"]),
    "3A_T12": ("the last message of a type", ["last_message.py::test_a_type_narrows_it_to_the_last_of_that_type"]),
    "3A_T13": ("the version of a stream", ["stream_version.py::test_the_version_is_the_position_of_the_last_message"]),
    # 4: SQLite, its namespaces
    "4A_T1": ("the store is made", ["tests/sqlite/test_files.py::test_a_store_that_was_only_opened_has_no_files"]),
    "4A_T2": ("the store is made in memory", ["tests/sqlite/test_files.py::test_stores_in_memory_share_nothing"]),
    "4A_T3": ("the store is made of files", ["tests/sqlite/test_files.py::test_what_was_written_is_there_after_closing"]),
    "4A_T4": ("closing cleans up", ["tests/sqlite/test_files.py::test_closing_closes_every_file"]),
    "4A_T5": ("a namespace is made in memory", ["namespaces.py::test_a_new_namespace_is_there_and_empty"]),
    "4A_T6": ("a namespace is made in a file", [
        "tests/sqlite/test_files.py::test_a_namespace_has_its_file_when_it_is_first_used"]),
    "4A_T7": ("deleting closes and removes the file", [
        "tests/sqlite/test_files.py::test_deleting_a_namespace_removes_its_files"]),
    "4A_T8": ("a namespace's database is opened when it is needed", [
        "tests/sqlite/test_files.py::test_a_namespace_has_its_file_when_it_is_first_used"]),
    "4A_T9": ("a namespace is found", ["namespaces.py::test_a_namespace_is_found_with_its_name_schema_and_time"]),
    "4A_T10": ("namespaces are listed", ["namespaces.py::test_namespaces_are_listed_in_the_order_of_their_bytes"]),
    # 5: SQLite, its messages
    "5A_T1": ("a write goes to its database", ["isolation.py::test_reads_lists_and_exports_stay_in_their_namespace"]),
    "5A_T2": ("position and global position are assigned", [
        "writing.py::test_global_positions_begin_at_1_and_ascend_over_all_streams"]),
    "5A_T3": ("the expected version is right", ["expected_version.py::test_the_right_version_is_written"]),
    "5A_T4": ("the expected version is wrong", ["expected_version.py::test_a_wrong_version_is_refused_with_both_versions"]),
    "5A_T5": ("JSON is serialised rightly", ["json_values.py::test_a_value_survives_writing_and_reading"]),
    "5A_T6": ("a stream is read", ["reading_streams.py::test_a_stream_is_read_in_the_order_of_its_positions"]),
    "5A_T7": ("a stream is read from a position, so many at a time", [
        "reading_streams.py::test_reading_begins_at_the_position",
        "reading_streams.py::test_a_batch_has_the_size_that_was_asked_for"]),
    "5A_T8": ("a category is read from several streams", [
        "reading_categories.py::test_a_category_has_the_messages_of_all_its_streams_in_global_order"]),
    "5A_T9": ("a category is read by a consumer group", ["consumer_groups.py::test_a_page_is_full_as_long_as_there_is_more"]),
    "5A_T10": ("the partition is PostgreSQL's", [
        "consumer_groups.py::test_the_partition_is_that_of_message_db",
        "tests/contract/test_round_trips.py::test_stores_agree_on_every_reading_of_the_same_messages"]),
    "5A_T11": ("the last message of a stream", [
        "last_message.py::test_the_last_message_of_a_stream_is_the_one_with_the_greatest_position"]),
    "5A_T12": ("the last message of a type", ["last_message.py::test_a_type_narrows_it_to_the_last_of_that_type"]),
    "5A_T13": ("the version of a stream", ["stream_version.py::test_the_version_is_the_position_of_the_last_message"]),
    # 6: all stores alike
    "6A_T1": ("namespaces are isolated", [
        "isolation.py::test_positions_of_a_namespace_are_its_own",
        "isolation.py::test_deleting_a_namespace_leaves_the_others"]),
    "6A_T2": ("writes and reads are alike", [
        "tests/properties/test_store_model.py::test_a_store_does_what_its_model_does",
        "tests/contract/test_round_trips.py::test_messages_survive_the_way_from_store_to_store"]),
    "6A_T3": ("category queries are alike", [
        "tests/contract/test_round_trips.py::test_stores_agree_on_every_reading_of_the_same_messages"]),
    "6A_T4": ("partitions are alike", [
        "consumer_groups.py::test_every_stream_has_the_member_that_its_cardinal_id_hashes_to"]),
    "6A_T5": ("optimistic locking is alike", [
        "expected_version.py::test_the_version_is_checked_before_the_id_and_the_type",
        "processes.py::test_of_eight_processes_exactly_one_wins_each_version"]),
    "6A_T6": ("concurrent writes to different namespaces", [
        "concurrency.py::test_eight_writers_in_different_namespaces_do_not_meet",
        "processes.py::test_eight_processes_write_to_different_namespaces"]),
    "6A_T7": ("concurrent writes to the same stream", [
        "concurrency.py::test_of_eight_writers_of_a_version_exactly_one_wins",
        "concurrency.py::test_eight_writers_of_a_stream_get_every_position_once"]),
    # 7: what is measured, and not tested
    "7A_T1": ("writes to PostgreSQL are measured", ["scripts/benchmark"]),
    "7A_T2": ("writes to a SQLite file are measured", ["scripts/benchmark"]),
    "7A_T3": ("writes to SQLite in memory are measured", ["scripts/benchmark"]),
    "7A_T4": ("stream reads are measured", ["scripts/benchmark"]),
    "7A_T5": ("category reads are measured", ["scripts/benchmark"]),
    "7A_T6": ("what is to be reached is compared with what is", ["scripts/benchmark"]),
}  # fmt: skip

COUNTS = {"1A": 9, "2A": 9, "3A": 13, "4A": 10, "5A": 13, "6A": 7, "7A": 6}


def functions(path: Path) -> set[str]:
    """The names of the functions of a file."""
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}


def test_there_are_67_scenarios() -> None:
    """No scenario of the plan is missing."""
    assert list(SCENARIOS) == [f"{phase}_T{n}" for phase, count in COUNTS.items() for n in range(1, count + 1)]
    assert len(SCENARIOS) == 67


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_is_held(scenario: str) -> None:
    """Each scenario names a test that is there."""
    _, holders = SCENARIOS[scenario]
    assert holders
    for holder in holders:
        file, _, name = holder.partition("::")
        path = ROOT / file if "/" in file else LAWS / file
        assert path.exists(), holder
        assert not name or name in functions(path), holder


@pytest.mark.parametrize("module", [name for name in contract.MODULES if name != "helping"])
def test_every_module_of_laws_is_run_here(module: str) -> None:
    """The test file of a module takes over all of its laws, and its laws are told in a docstring each."""
    own = Path(__file__).with_name(f"test_{module}.py").read_text()
    assert f"from evtool.testing.contract.{module} import *" in own
    laws = [node for node in ast.parse((LAWS / f"{module}.py").read_text()).body if isinstance(node, ast.FunctionDef)]
    laws = [node for node in laws if node.name.startswith("test_")]
    assert laws
    assert not [node.name for node in laws if not ast.get_docstring(node)]
