"""The sections of a resource file, word by word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evtool.errors import InvalidResource


class Section:
    """A section of a TOML file, each word of which is taken once, and checked as it is.

    All its methods raise InvalidResource where what stands there is of another type.
    """

    def __init__(self, what: str, given: Mapping[str, Any]) -> None:
        """Takes nothing yet.

        Args:
            what: it is called in errors.
            given: as it is read.
        """
        self.what = what
        self._left = dict(given)

    def text(self, word: str, default: str | None = None) -> str:
        """A text; the default where it isn't there.

        Raises:
            InvalidResource: it is something else, or is missing and there is no default.
        """
        value = self._take(word, str, "a text", default)
        if value is None or (not value and default is None):
            raise InvalidResource(f"{self.what} lacks {word}", hint=f'write: {word} = "…"')
        assert isinstance(value, str)
        if "\0" in value:
            raise InvalidResource(f"{word} of {self.what} holds a NUL")
        return value

    def optional_text(self, word: str) -> str | None:
        """A text; None where it isn't there."""
        return self.text(word) if word in self._left else None

    def flag(self, word: str) -> bool:
        """True or false; false where it isn't there."""
        return bool(self._take(word, bool, "true or false", default=False))

    def number(self, word: str) -> int | None:
        """A number; None where it isn't there."""
        value: int | None = self._take(word, int, "a number", None)
        return value

    def texts(self, word: str) -> tuple[str, ...]:
        """Texts; none where it isn't there."""
        values = self._take(word, list, "a list of texts", [])
        if not all(isinstance(value, str) and value for value in values):
            raise InvalidResource(f"{word} of {self.what} must be a list of texts")
        return tuple(values)

    def sections(self, word: str) -> list[Section]:
        """The sections that are headed by a word."""
        values = self._take(word, list, f"sections, each headed [[{word}]]", [])
        if not all(isinstance(value, dict) for value in values):
            raise InvalidResource(f"{word} must be sections", hint=f"head each [[{word}]]")
        return [Section(f"[[{word}]] number {number}", value) for number, value in enumerate(values, 1)]

    def end(self) -> None:
        """Raises for words that nobody took."""
        if self._left:
            raise InvalidResource(f"{self.what} has the unknown word {', '.join(self._left)}", hint="see docs/bulk.md")

    def _take(self, word: str, kind: type, what: str, default: Any) -> Any:
        value = self._left.pop(word, default)
        if value is not default and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
            raise InvalidResource(f"{word} of {self.what} must be {what}")
        return value
