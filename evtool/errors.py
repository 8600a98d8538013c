"""Every error that evtool raises on purpose.

All of them carry a `code` that programs may rely on, a message of one line, and a
`hint` that says what to do next. Neither ever holds a password or the data of a message.

    EvtoolError
     ├─ InvalidArgument            a value that no store would take
     │   ├─ NotAStream             "Must be a stream name"
     │   ├─ NotACategory           "Must be a category"
     │   ├─ InvalidCorrelation
     │   ├─ InvalidConsumerGroup
     │   ├─ ConditionNotActivated
     │   ├─ InvalidMessage         id, type or JSON that a message can't have
     │   ├─ InvalidDsn
     │   ├─ InvalidResource        a description of a table that can't be one
     │   └─ NotAble                the store lacks an ability
     ├─ StoreError                 the store could not do what was asked
     │   ├─ StoreUnreachable       no server, no login, connection lost
     │   ├─ StoreTimeout           a lock, a statement or writers took too long
     │   ├─ PermissionDenied       the role lacks a privilege
     │   ├─ ServerUnsuitable       too old, a standby, read-only
     │   └─ EmbeddedServerError    evtool's own server
     │       └─ BinariesMissing
     ├─ NamespaceError
     │   ├─ NamespaceNotFound
     │   ├─ NamespaceExists
     │   ├─ NamespaceRefused       a name or schema that can't be used
     │   └─ RoleRefused            a role that isn't there, or can't be a member
     ├─ MigrationError
     │   ├─ NotMigrated            the database has no registry yet
     │   ├─ DatabaseTooNew         made by a newer evtool
     │   └─ MigrationFailed
     ├─ WriteConflict
     │   ├─ WrongExpectedVersion
     │   └─ MessageExists          the id, or a position, is taken
     ├─ ImportRefused              a line of an import file, with its number
     ├─ InputDiffers               a file is no longer the one whose import was interrupted
     ├─ TooManyRejects             more records were refused than was allowed
     ├─ JobError                   something is wrong with a bulk job
     │   ├─ JobNotFound
     │   ├─ JobRefused             a job that can't be queued, or queued again
     │   ├─ IdempotencyKeyTaken    by a job that asks for something else
     │   └─ JobLost                another worker has it by now
     ├─ SourceError                a source that a worker was to fetch
     │   ├─ SourceRefused          its URL, an address or the server's answer is not allowed
     │   ├─ SourceTooLarge
     │   ├─ SourceChanged          since the job began
     │   └─ SourceUnreachable      it may come later
     ├─ IncrementRefused           an export that can't go on from an earlier one
     └─ FileError                  a file that can't be read or written
         └─ ManifestUnusable
"""

from __future__ import annotations

from typing import Any


class EvtoolError(Exception):
    """The root of all errors that evtool raises on purpose.

    Attributes:
        code: a word in capitals that stays the same between releases.
        hint: what to do next, or None.
    """

    code = "FAILED"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InvalidArgument(EvtoolError):
    """A value that no store would take."""

    code = "INVALID_ARGUMENT"


class NotAStream(InvalidArgument):
    """A stream was asked for by the name of a category."""

    code = "NOT_A_STREAM"


class NotACategory(InvalidArgument):
    """A category was asked for by the name of a stream."""

    code = "NOT_A_CATEGORY"


class InvalidCorrelation(InvalidArgument):
    """A correlation must be a category."""

    code = "INVALID_CORRELATION"


class InvalidConsumerGroup(InvalidArgument):
    """Member and size of a consumer group don't fit."""

    code = "INVALID_CONSUMER_GROUP"


class ConditionNotActivated(InvalidArgument):
    """A SQL condition was given while the setting message_store.sql_condition is off."""

    code = "CONDITION_NOT_ACTIVATED"


class InvalidMessage(InvalidArgument):
    """An id, a type, or JSON that a message can't have."""

    code = "INVALID_MESSAGE"


class InvalidDsn(InvalidArgument):
    """A database URL that can't be understood."""

    code = "INVALID_DSN"


class InvalidResource(InvalidArgument):
    """The description of a table can't be read, or doesn't fit the table."""

    code = "INVALID_RESOURCE"


class NotAble(InvalidArgument):
    """The store lacks an ability that was asked for."""

    code = "NOT_ABLE"


class StoreError(EvtoolError):
    """The store could not do what was asked."""

    code = "STORE_FAILED"


class StoreUnreachable(StoreError):
    """No server there, no login, or the connection was lost."""

    code = "STORE_UNREACHABLE"


class StoreTimeout(StoreError):
    """A lock, a statement or other writers took longer than allowed."""

    code = "TIMEOUT"


class PermissionDenied(StoreError):
    """The database role lacks a privilege."""

    code = "PERMISSION_DENIED"


class ServerUnsuitable(StoreError):
    """The server is too old, a standby, read-only, or in the wrong isolation level."""

    code = "SERVER_UNSUITABLE"


class EmbeddedServerError(StoreError):
    """evtool's own PostgreSQL server did not do as told."""

    code = "EMBEDDED_SERVER"


class BinariesMissing(EmbeddedServerError):
    """There are no PostgreSQL binaries to run an embedded server from."""

    code = "BINARIES_MISSING"


class NamespaceError(EvtoolError):
    """Something is wrong with a namespace."""

    code = "NAMESPACE"


class NamespaceNotFound(NamespaceError):
    """There is no namespace of that name."""

    code = "NAMESPACE_NOT_FOUND"


class NamespaceExists(NamespaceError):
    """There is a namespace of that name already."""

    code = "NAMESPACE_EXISTS"


class NamespaceRefused(NamespaceError):
    """The name, or the schema that it would get, can't be used."""

    code = "NAMESPACE_REFUSED"


class RoleRefused(NamespaceError):
    """A database role that isn't there, or can't be a member of a namespace."""

    code = "ROLE_REFUSED"


class MigrationError(EvtoolError):
    """The structure of the database does not fit."""

    code = "MIGRATION"


class NotMigrated(MigrationError):
    """The database has no evtool registry yet."""

    code = "NOT_MIGRATED"


class DatabaseTooNew(MigrationError):
    """The database was migrated by a newer evtool than this one."""

    code = "DATABASE_TOO_NEW"


class MigrationFailed(MigrationError):
    """A migration stopped; its transaction was rolled back."""

    code = "MIGRATION_FAILED"


class WriteConflict(EvtoolError):
    """A write lost against what the store holds."""

    code = "CONFLICT"


class WrongExpectedVersion(WriteConflict):
    """The stream is not at the version that the writer expected.

    Attributes:
        stream_name: the stream.
        expected_version: what the writer expected; -1 is "no such stream".
        stream_version: where the stream is; -1 is "no such stream".
    """

    code = "WRONG_EXPECTED_VERSION"

    def __init__(self, message: str, *, stream_name: str, expected_version: int, stream_version: int) -> None:
        super().__init__(message, hint="read the stream again and decide anew")
        self.stream_name = stream_name
        self.expected_version = expected_version
        self.stream_version = stream_version


class MessageExists(WriteConflict):
    """The id, the global position or the stream position is taken.

    Attributes:
        constraint: "id", "global_position" or "stream_position".
    """

    code = "MESSAGE_EXISTS"

    def __init__(self, message: str, *, constraint: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.constraint = constraint


class ImportRefused(EvtoolError):
    """A line of an import file was refused, and so nothing of the file, or of its batch, was imported.

    Attributes:
        code: INVALID_JSON, INVALID_RECORD, INVALID_TIME, POSITION_EXISTS, ID_EXISTS,
            STREAM_POSITION_EXISTS or IMPORT_FAILED.
        line: the line's number in the file, from 1; None where the fault has no line.
        value: the field's value that clashed or could not be read; never data or metadata.
    """

    code = "IMPORT_FAILED"

    def __init__(
        self,
        code: str,
        message: str,
        *,
        line: int | None = None,
        value: Any = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.line = line
        self.value = value


class InputDiffers(EvtoolError):
    """The file begins like one whose import was interrupted, and then differs from it."""

    code = "INPUT_DIFFERS"


class TooManyRejects(EvtoolError):
    """More records were refused than was allowed."""

    code = "TOO_MANY_REJECTS"


class JobError(EvtoolError):
    """Something is wrong with a bulk job."""

    code = "JOB"


class JobNotFound(JobError):
    """There is no job of that number."""

    code = "JOB_NOT_FOUND"


class JobRefused(JobError):
    """A job that can't be queued, or queued again."""

    code = "JOB_REFUSED"


class IdempotencyKeyTaken(JobError):
    """The idempotency key is that of a job that asks for something else."""

    code = "IDEMPOTENCY_KEY_TAKEN"


class JobLost(JobError):
    """The job is no longer this worker's; nothing of its batch was kept."""

    code = "JOB_LOST"


class SourceError(EvtoolError):
    """A source that a worker was to fetch did not come."""

    code = "SOURCE"


class SourceRefused(SourceError):
    """A source's URL, one of its addresses, or the server's answer is not allowed."""

    code = "SOURCE_REFUSED"


class SourceTooLarge(SourceError):
    """A source is larger than the workers take."""

    code = "SOURCE_TOO_LARGE"


class SourceChanged(SourceError):
    """A source is not what it was when the job was submitted or begun."""

    code = "SOURCE_CHANGED"


class SourceUnreachable(SourceError):
    """A source could not be had in time; later it may."""

    code = "SOURCE_UNREACHABLE"


class IncrementRefused(EvtoolError):
    """An export can't go on from an earlier one: it is another namespace's, or messages came in behind its back."""

    code = "INCREMENT_REFUSED"


class FileError(EvtoolError):
    """A file can't be read or written."""

    code = "FILE"


class ManifestUnusable(FileError):
    """A manifest that was changed or cut off, or that a newer evtool wrote."""

    code = "MANIFEST"
