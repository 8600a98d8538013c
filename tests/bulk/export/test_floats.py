"""Floats: SQLite's are spelt as PostgreSQL spells them."""

from __future__ import annotations

import math
import random
import struct
import sys

import psycopg

from evtool.bulk.sources.values import _float


def test_floats_are_spelt_as_postgresql_does(tables: psycopg.Connection) -> None:
    """Any bits, powers of two and of ten, and large whole numbers, which lie between two shortest spellings at times."""
    rng = random.Random(5)
    values = [struct.unpack("d", rng.randbytes(8))[0] for _ in range(5000)]
    values += [float(rng.randint(2**52, 2**64)) for _ in range(5000)]
    values += [rng.random() * 10 ** rng.randint(-20, 20) for _ in range(5000)]
    values += [2.0**power for power in range(-1074, 1024)] + [10.0**power for power in range(-300, 300)]
    values += [sys.float_info.max, -sys.float_info.max, math.inf, -math.inf, math.nan, 0.0, -0.0]
    texts = tables.execute(
        "SELECT x::text FROM unnest(%s::float8[]) WITH ORDINALITY AS u (x, n) ORDER BY n", (values,)
    ).fetchall()
    assert [(value, _float(value)) for value in values if not math.isnan(value)] == [
        (value, text) for value, (text,) in zip(values, texts, strict=True) if not math.isnan(value)
    ]
