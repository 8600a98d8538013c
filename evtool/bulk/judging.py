"""What is looked at in a record, as SQL: how its values are read, and what may be found wrong with them.

Every name goes through `sql.Identifier` and every text through `sql.Literal`. What a resource says in SQL itself, its
rules and defaults, stands as it is: a resource is trusted like a script.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from psycopg import sql

from evtool.bulk.casting import ColumnType, cast
from evtool.bulk.resource import Column, Reference, Resource, Unique

_Sql = sql.Composable
_COMMA = sql.SQL(", ")
_PLAIN = sql.Identifier("_evtool_plain")


@dataclass(frozen=True, slots=True)
class Check:
    """What may be found wrong with a record.

    Attributes:
        number: in the arrays of errors.
        field: the column that the report names.
        code: in the report.
        message: for people.
        failed: SQL that is true for a record that fails; None where it is found otherwise.
    """

    number: int
    field: str
    code: str
    message: str
    failed: _Sql | None


@dataclass(frozen=True, slots=True)
class Target:
    """The table that an import goes to, as the server knows it.

    Attributes:
        name: quoted, with its schema.
        oid: its number, which another table of that name would not have.
        types: the types of its columns, by name.
        lockable: the references whose parents the role may lock.
        deferrable: whether a key is only checked when it is asked for, which ON CONFLICT can't be used with.
        partitioned: whether its records are in partitions.
        path: where names without a schema are looked for: PostgreSQL's own first, then as the role's other programs do.
        orderless: whether nothing of it hangs on the order in which records come but the keys of the resource, and
            defaults.
        defaulted: the columns that have one.
    """

    name: str
    oid: int
    types: dict[str, ColumnType]
    lockable: frozenset[Reference]
    deferrable: bool
    partitioned: bool
    path: str
    orderless: bool
    defaulted: frozenset[str]


# What a number may be that is one, and yet none of the type's.
_RANGES = {
    name: f": it is a whole number from {-(2**bits)} to {2**bits - 1}"
    for name, bits in (("smallint", 15), ("integer", 31), ("bigint", 63))
}


class Judgement:
    """The looks at a record of one file's form, on its way into one table."""

    def __init__(
        self, resource: Resource, target: Target, given: Sequence[str], *, upsert: bool, typed: bool, suffix: str
    ) -> None:
        """Puts them together.

        Args:
            resource: with its schema.
            target: its table.
            given: the columns that the file has, in its order; others get their default.
            upsert: whether a record whose key is there replaces it.
            typed: whether values have kinds of their own, as in JSON.
            suffix: of the names of what is made in pg_temp.
        """
        self._resource = resource
        self._target = target
        self.given = tuple(given)
        self._upsert = upsert
        self._typed = typed
        self._suffix = suffix
        self.casts = {
            name: cast(type_, f"evtool_as_{suffix}_{n}") for n, (name, type_) in enumerate(target.types.items())
        }
        self._columns = [column for column in resource.columns if self._is_written(column)]
        self._numbers = {column.name: number for number, column in enumerate(self._columns)}
        self.key = resource.natural_key or resource.key
        self._self = sql.Identifier(resource.schema or "", resource.table)
        self.checks = list(self._checks())

    @property
    def can_trust(self) -> bool:
        """Whether records whose keys the file has not had before may be inserted as if no other had them."""
        known = self._resource.key and all(name in self._numbers for name in self._resource.key)
        return bool(known) and not self._target.deferrable and not self._upsert

    def _is_written(self, column: Column) -> bool:
        if column.computed:
            return False
        return (
            column.name in self.given
            or (column.default is not None and not column.always)
            or (
                # to be missed
                column.required or (column.not_null and column.default is None)
            )
        )

    def _cast(self, column: Column) -> _Sql:
        text = sql.Identifier("s", column.name)
        number = self._numbers[column.name]
        return sql.SQL("\n            {} AS {}, {} AS {}").format(
            text,
            sql.Identifier(f"_evtool_t{number}"),
            self.casts[column.name].of(text, _PLAIN),
            sql.Identifier(f"_evtool_v{number}"),
        )

    def _value(self, column: Column) -> _Sql:
        """The value of a column: what the file says, or the default."""
        number = self._numbers[column.name]
        value: _Sql = sql.Identifier(f"_evtool_v{number}")
        name = sql.Identifier(column.name)
        if column.required and self.casts[column.name].plain:
            # what is missing breaks no rule besides
            value = sql.SQL("CASE WHEN NOT {} THEN {} END").format(self._is_missing(column), value)
        rounded = self._target.types[column.name].rounded
        if rounded is not None:
            # keys, references and rules are of what the table will have
            value = sql.SQL(rounded).format(value)
        if column.default is None:
            return sql.SQL("{} AS {}").format(value, name)
        # as the table would: a number is a text where the column has texts
        default = sql.SQL("({})::{}").format(sql.SQL(column.default), sql.SQL(self.casts[column.name].type))
        if column.name not in self.given:
            return sql.SQL("{} AS {}").format(default, name)
        if column.not_null or column.required:
            missing = self._is_missing(column)
        elif self._typed:
            missing = sql.SQL("{} = ANY (_evtool_absent)").format(sql.Literal(column.name))
        else:
            return sql.SQL("{} AS {}").format(value, name)
        return sql.SQL("CASE WHEN {} THEN {} ELSE {} END AS {}").format(missing, default, value, name)

    @property
    def plain(self) -> bytes:
        """The regular expression of rows of COPY's text format in which nothing is missing or of a rare spelling.

        Looking at the whole row beside the server's work costs it nothing, and the server then needs to look at none of
        these values a second time.
        """
        return rb"\t".join(map(self._plainest, self.given))

    def _plainest(self, name: str) -> bytes:
        column = self._resource.column(name)
        pattern = self.casts[name].plainest
        if pattern is not None:
            return b"(?:%b)" % pattern if column.required else rb"(?:%b|\\N)?" % pattern
        # what begins with a letter is not empty; what is a space in other scripts the server knows
        return rb"[!-\[\]-~][^\t]*" if column.required else rb"[^\t]*"

    def _unknown(self) -> Iterator[_Sql]:
        """What isn't written is null to the rules."""
        for column in self._resource.columns:
            if column.name not in self._numbers:
                type_ = sql.SQL(self.casts[column.name].type)
                yield sql.SQL("NULL::{} AS {}").format(type_, sql.Identifier(column.name))

    def _is_missing(self, column: Column) -> _Sql:
        text = sql.Identifier(f"_evtool_t{self._numbers[column.name]}")
        if self.casts[column.name].plain and not column.required:
            return sql.SQL("{} IS NULL").format(text)
        if column.required:
            blank = sql.SQL("(COALESCE({}, '') !~ '\\S')").format(text)
            return sql.SQL("(NOT {} AND {})").format(_PLAIN, blank) if column.name in self.given else blank
        return sql.SQL("COALESCE({}, '') = ''").format(text)

    def _checks(self) -> Iterator[Check]:
        for number, found in enumerate(self._found(), 1):
            yield Check(number, *found)

    def _found(self) -> Iterator[tuple[str, str, str, _Sql | None]]:
        for column in self._columns:
            yield from self._of_column(column)
        for rule in self._resource.rules:
            expression = sql.SQL("NOT ({})").format(sql.SQL(rule.expression))
            message = rule.message or f"{rule.field} must satisfy {' '.join(rule.expression.split())}"
            yield rule.field, rule.code, message, expression
        for reference in self._resource.references:
            if self._is_own(reference) or not all(name in self._numbers for name in reference.columns):
                # a parent may come in the same batch: that is left to the foreign key itself
                continue
            message = f"{reference.columns[0]}: there is no such record in {reference.table}"
            yield reference.columns[0], reference.code, message, self._no_parent(reference)
        for unique in self._uniques():
            message = f"{', '.join(unique.columns)}: another record has it already"
            taken: _Sql | None = None
            held = sql.SQL("(SELECT true FROM {} AS t WHERE {} LIMIT 1)").format(
                self._self, self._same(unique.columns, "t", "record")
            )
            if not self._upsert and not self.can_trust:
                # afterwards nothing would tell who was kept out
                taken = held
            elif self._upsert and unique.columns != self.key:
                taken = self._is_another(unique)
            elif self._upsert and (generated := self._generated()):
                # a number that a default gave was never meant for the record that has it
                missing = sql.SQL(" OR ").join(map(self._is_missing, generated))
                taken = sql.SQL("({}) AND {}").format(missing, held)
            yield unique.columns[0], unique.code, message, taken

    def _of_column(self, column: Column) -> Iterator[tuple[str, str, str, _Sql | None]]:
        name = sql.Identifier(column.name)
        text = sql.Identifier(f"_evtool_t{self._numbers[column.name]}")
        one = self.casts[column.name]
        wrong: list[_Sql] = []
        if not one.plain:
            wrong.append(sql.SQL("({} <> '' AND {} IS NULL)").format(text, name))
        if self._typed:
            wrong.append(sql.SQL("{} = ANY (_evtool_mistyped)").format(sql.Literal(column.name)))
        if wrong and column.name in self.given:
            type_ = self._target.types[column.name].name
            yield (
                column.name,
                column.invalid_code,
                f"{column.name} is no {type_}{_RANGES.get(type_, '')}",
                sql.SQL(" OR ").join(wrong),
            )
        if column.required or (column.not_null and column.default is None):
            yield column.name, column.required_code, f"{column.name} is required", self._is_missing(column)
        if column.length is not None:
            rest = sql.SQL("rtrim({})") if self._target.types[column.name].name == "character" else sql.SQL("{}")
            too_long = sql.SQL("length({}) > {}").format(rest.format(name), sql.Literal(column.length))
            message = f"{column.name} has more than {column.length} characters"
            yield column.name, "value_too_long", message, too_long

    def _uniques(self) -> list[Unique]:
        return [one for one in self._resource.keys if all(name in self._numbers for name in one.columns)]

    def _key_of(self, columns: Sequence[str], qualifier: str | None = None) -> list[_Sql]:
        """The columns of a key, as they are compared."""
        found: list[_Sql] = []
        for name in columns:
            identifier: _Sql = sql.Identifier(qualifier, name) if qualifier else sql.Identifier(name)
            if qualifier != "t":
                identifier = self._compared(name, identifier)
            if self._resource.column(name).fold_case:
                identifier = sql.SQL("lower({})").format(identifier)
            found.append(identifier)
        return found

    def _indexed(self, columns: Sequence[str]) -> list[_Sql]:
        """The columns of a key, as its index has them."""
        names = {name: sql.Identifier(name) for name in columns}
        folded = {name for name in columns if self._resource.column(name).fold_case}
        return [sql.SQL("lower({})").format(one) if name in folded else one for name, one in names.items()]

    def _generated(self) -> list[Column]:
        """Those columns of the key by which upserts go that have a default."""
        return [column for column in self._columns if column.name in self.key and column.default is not None]

    def _is_another(self, unique: Unique) -> _Sql:
        """Whether a record other than the one that is to be replaced has the same values."""
        there, here = (_COMMA.join(self._key_of(self.key, one)) for one in ("t", "record"))
        return sql.SQL("(SELECT true FROM {} AS t WHERE {} AND ({}) IS DISTINCT FROM ({}) LIMIT 1)").format(
            self._self, self._same(unique.columns, "t", "record"), there, here
        )

    def _same(self, columns: Sequence[str], there: str, here: str) -> _Sql:
        """That two records have the same key."""
        pairs = zip(self._key_of(columns, there), self._key_of(columns, here), strict=True)
        return sql.SQL(" AND ").join(sql.SQL("{} = {}").format(*pair) for pair in pairs)

    def _same_keys(self, there: str, here: str) -> _Sql:
        """That two records have all keys in common, the missing ones too."""
        others = [
            sql.SQL("{} IS NOT DISTINCT FROM {}").format(*pair)
            for unique in self._uniques()
            if unique.columns != self._resource.key
            for pair in zip(self._key_of(unique.columns, there), self._key_of(unique.columns, here), strict=True)
        ]
        return sql.SQL(" AND ").join([self._same(self._resource.key, there, here), *others])

    def _is_own(self, reference: Reference) -> bool:
        return reference.table == self._resource.table and self._schema_of(reference) == self._resource.schema

    def _schema_of(self, reference: Reference) -> str:
        return reference.schema or self._resource.schema or ""

    def _parent(self, reference: Reference) -> _Sql:
        return sql.Identifier(self._schema_of(reference), reference.table)

    def _no_parent(self, reference: Reference) -> _Sql:
        known = [sql.SQL("{} IS NOT NULL").format(sql.Identifier("record", name)) for name in reference.columns]
        same = [
            sql.SQL("p.{} = {}").format(sql.Identifier(target), self._compared(name, sql.Identifier("record", name)))
            for name, target in zip(reference.columns, reference.targets, strict=True)
        ]
        return sql.SQL("{} AND (SELECT true FROM {} AS p WHERE {} LIMIT 1) IS NULL").format(
            sql.SQL(" AND ").join(known), self._parent(reference), sql.SQL(" AND ").join(same)
        )

    def _compared(self, name: str, value: _Sql) -> _Sql:
        """A value as it is compared with a column: `character` passes over spaces at the end."""
        return sql.SQL("{}::bpchar").format(value) if self._target.types[name].name == "character" else value

    def _number_of(self, unique: Unique) -> int:
        # the checks of keys are the last ones, in the keys' order
        uniques = self._uniques()
        return self.checks[len(self.checks) - len(uniques) + uniques.index(unique)].number
