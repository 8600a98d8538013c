"""Which keys a file has had already, as far as that can be told in little memory.

A key that is called new has not come before in this spelling; one that is not called new perhaps has. The server is the
one who knows: this only lets it look for most keys once instead of twice.
"""

from __future__ import annotations

from collections.abc import Sequence

# 16 MB, of which untouched pages take nothing: of a million keys one in a hundred is taken for another.
_BITS = 27
_BYTES = (1 << _BITS - 3) - 1


class Seen:
    """The keys of the records of a file, in its order."""

    def __init__(self, keys: Sequence[Sequence[int]]) -> None:
        """Has seen none yet.

        Args:
            keys: for each key the places of its columns in a record.
        """
        self._single = [(hash((number,)), *places) for number, places in enumerate(keys) if len(places) == 1]
        self._keys = [(number, [*places]) for number, places in enumerate(keys) if len(places) > 1]
        self._bits = bytearray(1 << (_BITS - 3)) if keys else bytearray()

    def is_new(self, fields: Sequence[bytes | None]) -> bool:
        """Whether no record has had one of these keys before; from now on one has."""
        new = True
        bits = self._bits
        for salt, at in self._single:
            text = fields[at]
            if text is not None:
                # letters of either case may be equal
                place = hash(text.lower()) ^ salt
                byte, bit = place >> 3 & _BYTES, 1 << (place & 7)
                if bits[byte] & bit:
                    new = False
                else:
                    bits[byte] |= bit
        for number, places in self._keys:
            texts = [fields[place] for place in places]
            if None not in texts:
                place = hash((number, *[text and text.lower() for text in texts]))
                byte, bit = place >> 3 & _BYTES, 1 << (place & 7)
                if bits[byte] & bit:
                    new = False
                else:
                    bits[byte] |= bit
        return new
