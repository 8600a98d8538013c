"""JSON whose brackets and quotes are broken: a fault costs the record that it is in, and perhaps its neighbour."""

from __future__ import annotations

import io
import json
import random
from itertools import islice

import pytest

from evtool.bulk.json_pieces import Elements, Piece

_COUNT = 60
_MOST = 5 * _COUNT
RECORDS = [
    {"id": number, "slug": f"x{number}, {{y}} ]", "tags": ["a", "b"], "info": {"k": [{"z": 1}, None]}}
    for number in range(_COUNT)
]
FORMS = {
    "pretty-printed": json.dumps(RECORDS, indent=2),
    "pretty-printed, CRLF": json.dumps(RECORDS, indent=2).replace("\n", "\r\n"),
    "a line each": "[\n" + ",\n".join(map(json.dumps, RECORDS)) + "\n]\n",
    "a line each, from the bracket on": "[" + ",\n".join(map(json.dumps, RECORDS)) + "]",
    "objects without an array": "\n".join(map(json.dumps, RECORDS)) + "\n",
    "pretty-printed objects without an array": "\n".join(json.dumps(one, indent=2) for one in RECORDS) + "\n\n",
}


class _Pieces(io.BytesIO):
    """A stream that gives no more than so much at once."""

    def __init__(self, content: bytes, most: int) -> None:
        super().__init__(content)
        self._most = most

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or -1, self._most))


def pieces(content: bytes, most: int = 1 << 16) -> list[Piece]:
    """What it is taken for; more than there can be is an error, so that nothing is read for ever."""
    found = list(islice(Elements(_Pieces(content, most)), _MOST))
    assert len(found) < _MOST
    return found


def whole(found: list[Piece]) -> list[object]:
    """The records among them."""
    records = []
    for _, text, fault in found:
        if fault is None:
            try:
                records.append(json.loads(text))
            except ValueError:
                continue
    return records


@pytest.mark.parametrize("form", FORMS)
def test_a_character_too_many_or_too_few_costs_two_records_at_most(form: str) -> None:
    """Wherever a bracket, a quote, a comma or a colon is missing or stands where none belongs; however the file is read."""
    content, chance = FORMS[form].encode(), random.Random(form)
    assert whole(pieces(content)) == RECORDS
    for _ in range(150):
        place = chance.randrange(len(content) // 10, len(content) * 9 // 10)
        while content[place] not in b'"{}[],:':
            place += 1
        added = chance.choice([b"", content[place : place + 1] * 2, b"]", b"}", b'"', b"{", b"["])
        behind = place + (not added or added == content[place : place + 1] * 2)
        broken = content[:place] + added + content[behind:]
        found = pieces(broken)
        kept = [one for one in whole(found) if one in RECORDS]
        assert len(kept) >= _COUNT - 2, (place, added, broken[place - 30 : place + 30])
        assert len(found) <= _COUNT + 3, (place, added)
        assert pieces(broken, 37) == found


@pytest.mark.parametrize("form", FORMS)
def test_what_is_broken_is_reported_with_all_of_its_text(form: str) -> None:
    """Of a record without its second quote the text is the record's, and its line that on which it begins."""
    content = FORMS[form].encode()
    place = content.index(b'"slug": "x30') + len(b'"slug": "x30, {y} ]')
    found = pieces(content[:place] + content[place + 1 :])
    (broken,) = [piece for piece in found if piece[2] is not None]
    assert whole(found) == [*RECORDS[:30], *RECORDS[31:]]
    assert b'"id": 30' in broken[1]
    assert broken[1].startswith(b"{")
    assert broken[1].endswith(b"}")
    assert broken[0] == content[: content.rindex(b"{", 0, content.index(b'"id": 30'))].count(b"\n") + 1


@pytest.mark.parametrize(
    "content", [b'{"id":1}\n', b'{"id":1} ', b' {"id":1}\n\n{"id":2}\n', b'{"id":1}\n]\n', b"\n", b"]"]
)
def test_objects_without_an_array_have_an_end(content: bytes) -> None:
    """Whoever says that a file is JSON and means objects one after the other is understood, and what is no object is refused."""
    found = pieces(content)
    assert [text for _, text, _ in found] == content.split()
    assert len(whole(found)) == content.count(b"{")


def test_a_record_across_lines_that_look_like_others_is_whole() -> None:
    """A valid record may hold what looks like the beginning of another one."""
    odd = b'{"id": 2, "info":\n{"k":\n{}}\n}'
    found = pieces(b'[\n{"id": 1},\n' + odd + b',\n{"id": 3}\n]')
    assert [text for _, text, fault in found if fault is None] == [b'{"id": 1}', odd, b'{"id": 3}']
    assert pieces(b'[\n{"id": 1},\n' + odd + b',\n{"id": 3}\n]', 3) == found
