"""The one place where an error of PostgreSQL becomes one of evtool's.

Server errors are told apart by SQLSTATE and by the name of the constraint, never by their prose. What evtool's own
functions raise carries its mark in the field CONSTRAINT, which psql doesn't print.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import psycopg

from evtool import errors, names

# libpq's guess behind its reason
_QUESTION = re.compile(r"\s*Is the server running [^?]*\?")
_LEVELS_OF_DETAIL = re.compile(r"\s*\n\s*")

# What the marks of our functions mean.
_MARKS: dict[str, type[errors.EvtoolError]] = {
    "stream_name": errors.NotAStream,
    "category": errors.NotACategory,
    "correlation": errors.InvalidCorrelation,
    "consumer_group": errors.InvalidConsumerGroup,
    "sql_condition": errors.ConditionNotActivated,
    "batch": errors.InvalidMessage,
    "standby": errors.ServerUnsuitable,
    "isolation": errors.ServerUnsuitable,
    "watermark_timeout": errors.StoreTimeout,
    "sequence_behind": errors.ServerUnsuitable,
    "schema_name_length": errors.NamespaceRefused,
    "schema_reserved": errors.NamespaceRefused,
    "schema_taken": errors.NamespaceRefused,
    "schema_not_ours": errors.NamespaceRefused,
    "role_is_not_a_group": errors.NamespaceRefused,
    "structure_differs": errors.MigrationFailed,
    "not_adoptable": errors.NamespaceRefused,
    "namespace_taken": errors.NamespaceExists,
    "busy_transactions": errors.StoreTimeout,
    "no_job": errors.JobNotFound,
    "job_kind": errors.JobRefused,
    "job_resource": errors.JobRefused,
    "job_request": errors.JobRefused,
    "job_key": errors.JobRefused,
    "job_after": errors.JobRefused,
    "job_not_retryable": errors.JobRefused,
    "job_key_taken": errors.IdempotencyKeyTaken,
    "job_lost": errors.JobLost,
    "job_source_changed": errors.SourceChanged,
}

_MARK_HINTS = {
    "stream_name": names.STREAM_HINT,
    "category": names.CATEGORY_HINT,
    "schema_taken": "see: evtool ns list; ns create takes another schema with --schema",
    "schema_not_ours": "name another schema with --schema; a Message DB is taken over by: evtool ns adopt",
    "schema_reserved": "name another schema with --schema",
    "watermark_timeout": "end their transactions, or wait longer: "
    "PGOPTIONS='-c message_store.watermark_timeout=5min' evtool …",
    "no_job": "see: evtool bulk jobs",
    "job_not_retryable": "see: evtool bulk status JOB",
    "job_key_taken": "take another key for another job",
    "job_lost": "whoever has it now goes on with it",
    "job_source_changed": "submit a new job for the new content",
    "sql_condition": "SET message_store.sql_condition = 'on' where the condition can be trusted",
}

# Of a server of evtool's own, in the folder where it is unless told otherwise.
_OWN_SOCKET = re.compile(r'socket "[^"]*evtool[^"]*"')

_TAKEN = {
    "messages_id": ("id", "a message with this id exists"),
    "messages_pkey": ("global_position", "a message with this global position exists"),
    "messages_stream": ("stream_position", "the stream has a message at this position"),
}

PERMISSION_HINT = (
    "reading takes a member of <schema>_reader, writing one of <schema>_writer; import, migrate and ns take the owner"
)

# By SQLSTATE, the longest prefix first: class, what happened, what to do.
_STATES: dict[str, tuple[type[errors.EvtoolError], str, str]] = {
    "3D000": (errors.StoreUnreachable, "the database does not exist", "create it: createdb NAME"),
    "28": (errors.StoreUnreachable, "the server refused the login", "check role, password and pg_hba.conf"),
    "53300": (
        errors.StoreUnreachable,
        "the server has no connection left",
        "try again later, or raise max_connections",
    ),
    "53100": (errors.StoreError, "the server's disk is full", "free space on the server; nothing was changed"),
    "53": (errors.StoreError, "the server is out of resources", "try again later"),
    "57014": (errors.StoreTimeout, "the statement was cancelled", "raise statement_timeout, or try again"),
    "57": (errors.StoreUnreachable, "the server ended the connection", "try again when the server is up"),
    "08": (errors.StoreUnreachable, "the connection was lost", "try again when the server is up"),
    "42501": (errors.PermissionDenied, "", PERMISSION_HINT),
    "25006": (
        errors.ServerUnsuitable,
        "the server is read-only",
        "connect to the primary; if this is it, look at default_transaction_read_only",
    ),
    "55P03": (
        errors.StoreTimeout,
        "other transactions kept the table locked",
        "try again when they have ended, or wait longer: PGOPTIONS='-c lock_timeout=5min' evtool …",
    ),
    "40": (errors.StoreError, "the transaction lost against another", "try again"),
    "22P02": (errors.InvalidMessage, "", "ids are UUIDs; data and metadata are JSON"),
    "22P05": (errors.InvalidMessage, "the text holds the character \\u0000", "PostgreSQL can't store it"),
    "22021": (errors.InvalidMessage, "the text is not valid UTF-8", "write UTF-8"),
    "22003": (
        errors.InvalidArgument,
        "a number is out of range",
        "positions are bigint; a group has up to 32767 members",
    ),
    "2201W": (errors.InvalidArgument, "batch_size must not be below -1", "-1 reads all"),
    "23502": (errors.InvalidMessage, "a message needs an id, a stream name and a type", "give all three"),
    "54": (errors.InvalidMessage, "", "a stream name fits into an index entry of about 2,700 bytes"),
    "42601": (errors.InvalidArgument, "", "check the SQL condition"),
    "42703": (errors.InvalidArgument, "", "check the SQL condition"),
}


def translate(error: psycopg.Error, *, namespace: str | None = None) -> errors.EvtoolError:
    """An error of psycopg as one of evtool's.

    Args:
        error: what psycopg raised.
        namespace: the one that was used, for the message.
    """
    state = error.sqlstate or ""
    mark = error.diag.constraint_name or ""
    primary = one_line(error.diag.message_primary or str(error))
    if mark in _MARKS:
        hint = _MARK_HINTS.get(mark) or one_line(error.diag.message_hint or "") or None
        # the texts are the contract's, to the space before an empty name
        return _MARKS[mark](_LEVELS_OF_DETAIL.sub(" ", error.diag.message_primary or ""), hint=hint)
    if state == "23505" and mark in _TAKEN:
        kind, text = _TAKEN[mark]
        return errors.MessageExists(text, constraint=kind, hint="each message is written once")
    if state in {"3F000", "42P01", "42883"} and namespace is not None:
        return errors.MigrationFailed(
            f'the namespace "{namespace}" is not what it should be: {primary}', hint="see: evtool migrate status"
        )
    for length in (5, 2):
        if (found := _STATES.get(state[:length])) is not None:
            kind_of_error, text, hint = found
            return kind_of_error(f"{text} ({primary})" if text else primary, hint=hint)
    if not state and isinstance(error, psycopg.OperationalError):
        hint = "check host, port, database, role and password, and that the server is up"
        if _OWN_SOCKET.search(primary):
            hint = "if it is evtool's own server: evtool db start"
        return errors.StoreUnreachable(f"can't reach the database: {_QUESTION.sub('', primary)}", hint=hint)
    return errors.StoreError(f"PostgreSQL said {state or 'something unexpected'}: {primary}")


@contextlib.contextmanager
def translated(namespace: str | None = None, *, privileges: str = PERMISSION_HINT) -> Iterator[None]:
    """Turns every psycopg error inside into one of evtool's, the cause kept.

    Args:
        namespace: the one that is used, for the message.
        privileges: what to do where the role lacks one.
    """
    try:
        yield
    except psycopg.Error as error:
        found = translate(error, namespace=namespace)
        if found.hint == PERMISSION_HINT:
            found.hint = privileges
        raise found from error


def one_line(text: str) -> str:
    """The first sentence's worth of a text that may have several lines."""
    return _LEVELS_OF_DETAIL.sub(" ", text.strip()).strip()
