"""What a table's records are, said once: its columns, keys, rules and references.

A resource ships with evtool, is read from a file of the user's own, or from the catalog of the database
(`evtool.bulk.catalog`). It only describes; `importing` and `exporting` act on it.

    name = "articles"                 # what people call it
    table = "articles"                # schema = "blog" names another schema than the caller's
    key = ["id"]
    natural_key = ["slug"]            # what people know a record by, and what --mode upsert goes by
    order = ["created_at", "id"]      # of an export; "created_at desc" turns it round

    [[columns]]
    name = "id"
    type = "uuid"                     # as PostgreSQL writes it
    default = "gen_random_uuid()"     # SQL, for an empty value
    invalid = "invalid_id_format"     # the code of a value that isn't one; else invalid_id

    [[columns]]
    name = "slug"
    type = "text"
    required = true                   # must not be empty; slug_required

    [[rules]]
    code = "invalid_slug_format"
    field = "slug"
    expression = "slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'"   # SQL over the columns; like a CHECK, null passes
    message = "slug is lower-case words with - between"  # may be left out: what a record is told that doesn't
    plain = "[a-z0-9]+(?:-[a-z0-9]+)*"                  # may be left out: texts that are known to satisfy it

    [[references]]
    column = "author_id"
    resource = "users"
    target = "id"
    code = "author_not_found"

Rules and defaults are SQL and run with the rights of whoever imports: a resource file is to be trusted like a script.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evtool.bulk.sections import Section
from evtool.errors import InvalidResource

SHIPPED = ("users", "articles", "comments", "posts")
"""The resources that come with evtool, in the order of their references."""

_FOLDER = Path(__file__).parent / "resources"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a resource.

    Attributes:
        name: in the table and in files.
        type: as PostgreSQL writes it, without a length: uuid, text, boolean, timestamptz, text[], numeric …
        required: an empty or blank value is refused, with `<name>_required`.
        not_null: only a missing value is refused; an empty text will do.
        default: SQL for a value that is missing or, where the column must not be null, empty.
        length: the greatest number of characters.
        fold_case: keys compare it case-insensitively.
        computed: the database computes it: exported, and ignored by an import.
        always: GENERATED ALWAYS AS IDENTITY.
        invalid: the code of a value that isn't of the type; else `invalid_<name>`.
        missing: the code of a value that is missing and must not be; else `<name>_required`.
    """

    name: str
    type: str
    required: bool = False
    not_null: bool = False
    default: str | None = None
    length: int | None = None
    fold_case: bool = False
    computed: bool = False
    always: bool = False
    invalid: str = ""
    missing: str = ""

    @property
    def invalid_code(self) -> str:
        """The code of a value that isn't of the type."""
        return self.invalid or f"invalid_{self.name}"

    @property
    def required_code(self) -> str:
        """The code of a value that is missing."""
        return self.missing or f"{self.name}_required"


@dataclass(frozen=True, slots=True)
class Unique:
    """Columns whose values no two records share. A unique index on them must be there."""

    columns: tuple[str, ...]

    @property
    def code(self) -> str:
        """The code of a record whose values another one has."""
        return f"duplicate_{'_'.join(self.columns)}"


@dataclass(frozen=True, slots=True)
class Rule:
    """What a record must satisfy.

    Attributes:
        code: of a record that doesn't.
        field: the column that is named in the report.
        expression: SQL over the columns, whose names it writes as they are; null passes.
        plain: a regular expression, Python's, that matches no whole text of the field which breaks the rule, whatever
            the other columns hold. Records that are known to be right by such ones are imported faster.
        message: what people are told of a record that doesn't; None is the expression.
    """

    code: str
    field: str
    expression: str
    plain: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """Columns whose values must be in another table.

    Attributes:
        columns: of this resource.
        table: the other table.
        targets: the other's columns, in the same order.
        code: of a record whose values aren't there.
        schema: the other's schema; None is this resource's.
        resource: the other as a resource, if it is one: imports of both in one call go in this order.
    """

    columns: tuple[str, ...]
    table: str
    targets: tuple[str, ...]
    code: str
    schema: str | None = None
    resource: str | None = None


@dataclass(frozen=True, slots=True)
class Resource:
    """A table and what its records must be.

    Attributes:
        name: what people call it.
        table: its table.
        columns: in the order of an export.
        schema: of the table; None is the caller's choice, see `in_schema`.
        key: the columns of its primary key; may be empty.
        natural_key: what people know a record by, if that is something else.
        order: of an export: columns, each perhaps followed by ` desc`. Unique as a whole.
        rules: checked in this order.
        references: checked in this order.
        unique: further columns whose values no two records share.
    """

    name: str
    table: str
    columns: tuple[Column, ...]
    schema: str | None = None
    key: tuple[str, ...] = ()
    natural_key: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    references: tuple[Reference, ...] = ()
    unique: tuple[Unique, ...] = field(default=())

    def in_schema(self, schema: str) -> Resource:
        """The same resource with its table in a schema, where it names none itself."""
        return self if self.schema is not None else dataclasses.replace(self, schema=schema)

    def column(self, name: str) -> Column:
        """A column by its name.

        Raises:
            InvalidResource: there is none of that name.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise InvalidResource(f'{self.name} has no column "{name}"', hint=f"it has {', '.join(self.column_names)}")

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names of all columns, in their order."""
        return tuple(column.name for column in self.columns)

    @property
    def keys(self) -> tuple[Unique, ...]:
        """Everything whose values no two records share: the key, the natural key, the rest."""
        found = [Unique(columns) for columns in (self.key, self.natural_key) if columns]
        return tuple(dict.fromkeys((*found, *self.unique)))


def shipped(name: str) -> Resource:
    """A resource that comes with evtool.

    Raises:
        InvalidResource: there is none of that name.
    """
    if name not in SHIPPED:
        raise InvalidResource(
            f'there is no resource "{name}"',
            hint=f"give one of {', '.join(SHIPPED)}, the path of a resource file, or --table schema.table",
        )
    return from_file(_FOLDER / f"{name}.toml")


def find(name_or_path: str) -> Resource:
    """A resource by the name of a shipped one, or by the path of a file, which ends in .toml or has a slash.

    Raises:
        InvalidResource: no such resource, or the file is not one.
    """
    if name_or_path.endswith(".toml") or "/" in name_or_path:
        return from_file(Path(name_or_path))
    return shipped(name_or_path)


def from_file(path: Path) -> Resource:
    """A resource from a TOML file, of the form that this module's docstring shows.

    Raises:
        InvalidResource: the file can't be read, or says something that a resource can't be.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidResource(f"can't read {path}: {error.strerror}", hint="give the path of a TOML file") from error
    except UnicodeDecodeError as error:
        raise InvalidResource(f"{path} is not UTF-8", hint="save it as UTF-8") from error
    try:
        return parse(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InvalidResource(f"{path} is not TOML: {error}", hint="see https://toml.io") from error
    except InvalidResource as error:
        raise InvalidResource(f"{path}: {error.message}", hint=error.hint) from error


def parse(given: Mapping[str, Any]) -> Resource:
    """A resource from what a TOML file holds.

    Raises:
        InvalidResource: a word is unknown, missing or of the wrong type, or a column is named that isn't there.
    """
    top = Section("the resource", given)
    resource = Resource(
        name=top.text("name"),
        table=top.text("table", given.get("name")),
        schema=top.optional_text("schema"),
        columns=tuple(_column(part) for part in top.sections("columns")),
        key=top.texts("key"),
        natural_key=top.texts("natural_key"),
        order=top.texts("order"),
        rules=tuple(_rule(part) for part in top.sections("rules")),
        references=tuple(_reference(part) for part in top.sections("references")),
        unique=tuple(_unique(part) for part in top.sections("unique")),
    )
    top.end()
    _check(resource)
    return resource


def _column(part: Section) -> Column:
    column = Column(
        name=part.text("name"),
        type=part.text("type"),
        required=part.flag("required"),
        not_null=part.flag("not_null"),
        default=part.optional_text("default"),
        length=part.number("length"),
        fold_case=part.flag("fold_case"),
        computed=part.flag("computed"),
        invalid=part.text("invalid", ""),
        missing=part.text("missing", ""),
    )
    part.end()
    return column


def _rule(part: Section) -> Rule:
    rule = Rule(
        code=part.text("code"),
        field=part.text("field"),
        expression=part.text("expression"),
        plain=part.optional_text("plain"),
        message=part.optional_text("message"),
    )
    part.end()
    try:
        re.compile(rule.plain or "")
    except re.error as error:
        raise InvalidResource(
            f"plain of {part.what} is no regular expression: {error}", hint="see the module re of Python"
        ) from error
    return rule


def _reference(part: Section) -> Reference:
    columns = part.texts("columns") or (part.text("column"),)
    resource = part.optional_text("resource")
    reference = Reference(
        columns=columns,
        table=part.text("table", resource),
        targets=part.texts("targets") or (part.text("target", "id"),),
        code=part.text("code", f"{columns[0]}_not_found"),
        schema=part.optional_text("schema"),
        resource=resource,
    )
    part.end()
    if len(reference.columns) != len(reference.targets):
        raise InvalidResource(f"{part.what} has {len(columns)} columns and {len(reference.targets)} targets")
    return reference


def _unique(part: Section) -> Unique:
    unique = Unique(part.texts("columns"))
    part.end()
    if not unique.columns:
        raise InvalidResource(f"{part.what} names no columns", hint='write: columns = ["a", "b"]')
    return unique


def _check(resource: Resource) -> None:
    names = resource.column_names
    if not names:
        raise InvalidResource(f"{resource.name} has no columns", hint="write a [[columns]] section for each")
    for name in names:
        if names.count(name) > 1:
            raise InvalidResource(f'the column "{name}" is there twice')
        if name.startswith("_"):
            raise InvalidResource(
                f'a column can\'t be called "{name}" in a resource', hint="names that begin with _ are evtool's"
            )
    _known(names, "key", resource.key)
    _known(names, "natural_key", resource.natural_key)
    _known(names, "order", (word.removesuffix(" desc").removesuffix(" asc") for word in resource.order))
    _known(names, "rules", (rule.field for rule in resource.rules))
    for unique in resource.unique:
        _known(names, "unique", unique.columns)
    for reference in resource.references:
        _known(names, "references", reference.columns)


def _known(names: tuple[str, ...], what: str, used: Iterable[str]) -> None:
    for name in used:
        if name not in names:
            raise InvalidResource(f'{what} names "{name}", which is no column', hint=f"columns: {', '.join(names)}")
