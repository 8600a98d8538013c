"""The names of streams, categories and namespaces, and how each is taken apart.

The rules for streams are Message DB's; a stream name is split nowhere else in Python.
"""

from __future__ import annotations

import hashlib
import re

from evtool.errors import NamespaceRefused

MAX_SCHEMA_BYTES = 63
"""PostgreSQL's NAMEDATALEN - 1: a longer name would be cut silently."""

RESERVED_SCHEMAS = frozenset({"evtool", "information_schema", "public"})
"""Schemas that belong to PostgreSQL or to the registry; so does every name that begins with pg_."""

STREAM_HINT = "a stream's name has a hyphen, as account-123; without one it is a category's"
CATEGORY_HINT = "a category is what stands before the first hyphen of a stream's name"


def category(stream_name: str) -> str:
    """What stands before the first hyphen: category("a-b-c") == "a"."""
    return stream_name.split("-", 1)[0]


def stream_id(stream_name: str) -> str | None:
    """What stands behind the first hyphen, or None: stream_id("a-b-c") == "b-c" (Message DB's `id`)."""
    _, hyphen, rest = stream_name.partition("-")
    return rest if hyphen else None


def cardinal_id(stream_name: str) -> str | None:
    """The part of the id before the first "+": cardinal_id("a-1+2") == "1"."""
    whole = stream_id(stream_name)
    return None if whole is None else whole.split("+", 1)[0]


def is_category(name: str) -> bool:
    """Whether a name holds no hyphen."""
    return "-" not in name


def hash_64(value: str) -> int:
    """The first 64 bits of the md5 of the UTF-8 text, as a signed big-endian integer."""
    digest = hashlib.md5(value.encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def check_namespace(name: str) -> str:
    """Returns a namespace's name if it may be one.

    Raises:
        NamespaceRefused: it is empty, or holds a control character or what UTF-8 can't say.
    """
    if not isinstance(name, str):
        raise NamespaceRefused(f"a namespace's name is text, and not {type(name).__name__}", hint="give a str")
    if not name.strip():
        raise NamespaceRefused("a namespace needs a name", hint="for instance: evtool ns create orders")
    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in name):
        raise NamespaceRefused("a namespace's name can't hold control characters", hint="use letters, digits and _")
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise NamespaceRefused("a namespace's name must be valid UTF-8", hint="use letters, digits and _") from error
    return name


def schema_name(namespace: str) -> str:
    """The schema that a namespace gets where none is named.

    ASCII letters become lower case, as PostgreSQL does with unquoted names, so that `psql` can write
    Orders.write_message(…) without quotes; each run of anything but letters, digits and `_` becomes one `_`.
    So "my-app", "My App" and "my_app" would share `my_app`: the registry lets only the first have it.

    Raises:
        NamespaceRefused: see `check_namespace` and `check_schema`.
    """
    check_namespace(namespace)
    lowered = "".join(char.lower() if char.isascii() else char for char in namespace)
    return check_schema(re.sub(r"\W+", "_", lowered))


def check_schema(schema: str) -> str:
    """Returns a schema's name if a namespace may live in it.

    Raises:
        NamespaceRefused: it is empty, longer than 63 bytes, reserved, or holds a NUL.
    """
    another = "name another schema with --schema"
    if not isinstance(schema, str):
        raise NamespaceRefused(f"a schema's name is text, and not {type(schema).__name__}", hint="give a str")
    if not schema or "\0" in schema:
        raise NamespaceRefused("a schema needs a name without NUL", hint=another)
    try:
        size = len(schema.encode())
    except UnicodeEncodeError as error:
        raise NamespaceRefused("a schema's name must be valid UTF-8", hint=another) from error
    if size > MAX_SCHEMA_BYTES:
        raise NamespaceRefused(
            f"the schema name would have {size} bytes, and PostgreSQL allows {MAX_SCHEMA_BYTES}", hint=another
        )
    if schema.lower().startswith("pg_") or schema.lower() in RESERVED_SCHEMAS:
        raise NamespaceRefused(f'the schema name "{schema}" is reserved', hint=another)
    return schema
