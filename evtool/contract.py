"""The contract's checks, in Python, for stores that have no stored procedures to make them.

Texts and order are Message DB's. What a value may be is decided by PostgreSQL's types, because every store takes and
refuses the same: JSON that jsonb holds, UUIDs as its type reads them, text without NUL, positions of a bigint.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from evtool.errors import (
    InvalidArgument,
    InvalidConsumerGroup,
    InvalidCorrelation,
    InvalidMessage,
    NamespaceNotFound,
    NamespaceRefused,
    NotACategory,
    NotAStream,
    WrongExpectedVersion,
)
from evtool.names import CATEGORY_HINT, STREAM_HINT, cardinal_id, category, check_namespace, hash_64, is_category

MIN_BIGINT = -(2**63)
MAX_BIGINT = 2**63 - 1
MAX_GROUP_SIZE = 32767
"""That of a smallint, as in Message DB."""

_DEFAULT_BATCH = 1000
# What uuid_in takes: hyphens after any group of four digits, braces around.
_UUID = re.compile(r"(\{)?(?:[0-9a-fA-F]{4}-?){7}[0-9a-fA-F]{4}(?(1)\})")


def check_stream(stream_name: str | None) -> str:
    """Returns the name of a stream that is to be read.

    Raises:
        NotAStream: it is a category's.
    """
    check_names(stream_name)
    if stream_name is None or is_category(stream_name):
        raise NotAStream(f"Must be a stream name: {_shown(stream_name)}", hint=STREAM_HINT)
    return stream_name


def check_category(name: str | None) -> str | None:
    """Returns the name of a category that is to be read; None stays None, and has no messages.

    Raises:
        NotACategory: it is a stream's.
    """
    if name is None:
        return None
    check_text(name)
    if not is_category(name):
        raise NotACategory(f"Must be a category: {name}", hint=CATEGORY_HINT)
    return name


def check_correlation(name: str | None) -> str | None:
    """Returns the category that messages must be correlated with.

    Raises:
        InvalidCorrelation: it is a stream's name.
    """
    if name is None:
        return None
    check_text(name)
    if not is_category(name):
        raise InvalidCorrelation(f"Correlation must be a category (Correlation: {name})")
    return name


def check_consumer_group(member: int | None, size: int | None) -> None:
    """Checks a consumer group, in the contract's order.

    Raises:
        InvalidConsumerGroup: member and size don't fit together.
    """
    tail = f"(Consumer Group Member: {_shown(member)}, Consumer Group Size: {_shown(size)})"
    if (member is None) != (size is None):
        raise InvalidConsumerGroup(f"Consumer group member and size must be specified {tail}")
    if member is None or size is None:
        return
    if size < 1:
        raise InvalidConsumerGroup(f"Consumer group size must not be less than 1 {tail}")
    if member < 0:
        raise InvalidConsumerGroup(f"Consumer group member must not be less than 0 {tail}")
    if member >= size:
        raise InvalidConsumerGroup(f"Consumer group member must be less than the group size {tail}")


def check_group_size(size: int | None) -> None:
    """Checks that a consumer group is not too large, which comes last of all.

    Raises:
        InvalidArgument: it is larger than a smallint can say.
    """
    if size is not None and size > MAX_GROUP_SIZE:
        raise InvalidArgument(
            f"a consumer group has {MAX_GROUP_SIZE} members at the most", hint="make the group smaller"
        )


def in_consumer_group(stream_name: str, member: int, size: int) -> bool:
    """Whether a stream is a member's. A stream without an id is nobody's."""
    cardinal = cardinal_id(stream_name)
    return cardinal is not None and abs(hash_64(cardinal)) % size == member


def limit_of(batch_size: int | None) -> int | None:
    """How many rows a batch_size asks for; None is all.

    Raises:
        InvalidArgument: it is below -1.
    """
    size = _DEFAULT_BATCH if batch_size is None else check_bigint(batch_size)
    if size < -1:
        raise InvalidArgument("batch_size must not be below -1", hint="-1 reads all")
    return None if size == -1 else size


def check_bigint(value: int) -> int:
    """Returns a position or a count.

    Raises:
        InvalidArgument: it is beyond a bigint, or no whole number.
    """
    # to Python, True is 1
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidArgument(
            f"a position, a version or a size is a whole number, and not {type(value).__name__}", hint="give an int"
        )
    if not MIN_BIGINT <= value <= MAX_BIGINT:
        raise InvalidArgument("a number is out of range", hint="positions and sizes are of the type bigint")
    return value


def check_bigints(*values: int | None) -> None:
    """Checks numbers that may be missing.

    Raises:
        InvalidArgument: one is beyond a bigint.
    """
    for value in values:
        if value is not None:
            check_bigint(value)


def check_text(text: str) -> str:
    """Returns a text that PostgreSQL could hold.

    Raises:
        InvalidMessage: it holds NUL, or what UTF-8 can't say, or it is no text.
    """
    if not isinstance(text, str):
        raise InvalidMessage(f"a name, a type or an id is text, and not {type(text).__name__}", hint="give a str")
    if "\0" in text:
        raise InvalidMessage("the text holds the character NUL", hint="PostgreSQL can't store it")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidMessage("the text is not valid UTF-8", hint="half a surrogate pair is no character") from error
    return text


def check_names(*values: str | None) -> None:
    """Checks texts that may be missing.

    Raises:
        InvalidMessage: one can't be held by PostgreSQL.
    """
    for value in values:
        if value is not None:
            check_text(value)


def check_present(*values: str | None) -> None:
    """Checks that a message has its stream name and type.

    Raises:
        InvalidMessage: one is missing.
    """
    if any(value is None for value in values):
        raise missing()


def check_expected_version(stream_name: str, expected_version: int | None, version: int | None) -> None:
    """Compares what a writer expects with where the stream is.

    Raises:
        WrongExpectedVersion: they differ.
    """
    current = -1 if version is None else version
    if expected_version is not None and expected_version != current:
        raise WrongExpectedVersion(
            f"Wrong expected version: {expected_version} (Stream: {_shown(stream_name)}, Stream Version: {current})",
            stream_name=stream_name,
            expected_version=expected_version,
            stream_version=current,
        )


def canonical_id(text: str | None) -> str:
    """A message's id in lower case with hyphens.

    Raises:
        InvalidMessage: it is missing, or no UUID.
    """
    if text is None:
        raise missing()
    if not _UUID.fullmatch(text):
        raise InvalidMessage("invalid input syntax for type uuid", hint="ids are UUIDs; data and metadata are JSON")
    digits = re.sub(r"[{}-]", "", text).lower()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def missing() -> InvalidMessage:
    """The error of a message without id, stream name or type."""
    return InvalidMessage("a message needs an id, a stream name and a type", hint="give all three")


def namespace_to_find(name: str) -> str:
    """Returns the name of a namespace that is looked for.

    Raises:
        NamespaceNotFound: none can be called so.
    """
    try:
        return check_namespace(name)
    except NamespaceRefused as error:
        raise NamespaceNotFound(
            "there is no namespace of that name, nor can there be", hint="see: evtool ns list"
        ) from error


def correlation_of(metadata: str | bytes | None) -> str | None:
    """The category of a message's correlationStreamName; None where its metadata has none.

    As `category(metadata->>'correlationStreamName')`: any other value than a string counts as its text in jsonb.
    """
    if metadata is None or not _may_be_correlated(metadata):
        return None
    try:
        value: Any = _correlation.decode(metadata).correlationStreamName
    except msgspec.ValidationError:
        # the metadata is no object
        return None
    raw = bytes(value)
    if not raw or raw == b"null":
        return None
    if raw[:1] == b'"':
        # without a backslash the text stands there as it is
        return category(json.loads(raw) if b"\\" in raw else raw[1:-1].decode())
    return category(_jsonb_text(json.loads(raw, parse_int=Decimal, parse_float=Decimal)))


def correlations_of(metadata: Sequence[msgspec.Raw]) -> list[str | None]:
    """The same of many, with JSON's null for none."""
    try:
        objects = _correlations.decode(b"[%b]" % b",".join(metadata))
    except msgspec.ValidationError:
        # one is no object, or its correlation no string
        return [correlation_of(bytes(one)) for one in metadata]
    names = [None if one is None else one.correlationStreamName for one in objects]
    return [None if name is None else category(name) for name in names]


def _may_be_correlated(metadata: str | bytes) -> bool:
    """Whether the key is there, or some character is written as an escape, as the key's may be."""
    if isinstance(metadata, str):
        return "correlationStreamName" in metadata or "\\u" in metadata
    return b"correlationStreamName" in metadata or b"\\u" in metadata


def _jsonb_text(value: Any) -> str:
    """A value as jsonb prints it: numbers without exponent, keys by length and then by bytes."""
    if isinstance(value, Decimal):
        # numeric has no minus zero
        return f"{value:f}" if value else f"{abs(value):f}"
    if isinstance(value, list):
        return f"[{', '.join(map(_jsonb_text, value))}]"
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
        return f"{{{', '.join(f'{_jsonb_text(key)}: {_jsonb_text(value[key])}' for key in keys)}}}"
    return json.dumps(value, ensure_ascii=False)


class _Correlated(msgspec.Struct):
    correlationStreamName: msgspec.Raw = msgspec.Raw(b"")  # noqa: N815 - Message DB's word


_correlation = msgspec.json.Decoder(_Correlated)


class _CorrelatedByName(msgspec.Struct, gc=False):
    correlationStreamName: str | None = None  # noqa: N815 - Message DB's word


_correlations = msgspec.json.Decoder(list[_CorrelatedByName | None])


def _shown(value: object) -> object:
    return "<NULL>" if value is None else value
