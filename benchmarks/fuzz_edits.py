"""Random damage to bytes and to JSON: `edit_bytes`, `edit_json`, and the extremes they write.

A generator of random numbers goes into every function, so that a case is known by its seed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

INTRUDER = 'a", getattr(__import__("os"), "mkdir")("intruder")) or getattr(self, "a'
"""A name that makes a folder where it gets into generated Python source between double quotes."""
NUMBERS = (
    *(-1, 0, 1, 2, 3, 7, 64, 255, 256, 65535, 2**31 - 1, 2**31, 2**32, 2**53, 2**62, 2**63 - 1, 2**63, 2**64, 10**30),
    *(-(2**63), 0.5, -0.0, 1e-320, 1e308, -1e308, 1e-7),
)
TEXTS = (
    *("", " ", "x" * 100_000, "\x1b[31mred\x1b[0m", "two\nlines\r\x85\u2028", "\ud800", "\u202egnp.exe", "\0"),
    *("../../../etc/passwd", "/etc/passwd", "/dev/zero", "-1", "1e999", "{}", "None", "{0.__class__}", "%s%s%n"),
    *("__class__", "cuda:0", "meta", "float16", "auto", "sdpa", "owner/kernel", INTRUDER, INTRUDER.replace('"', "'")),
)
_RAW = {
    "@deep": "[" * 10_000 + "]" * 10_000,
    "@deeper": '{"a":' * 400 + "1" + "}" * 400,
    "@digits": "9" * 5_000,
    "@nan": "NaN",
    "@huge": "1e400",
    "@long": "[" + ",".join("0" * 20_000) + "]",
    "@many": "{" + ",".join(f'"k{index}": {index}' for index in range(5_000)) + "}",
}
"""Texts that stand for themselves in the written JSON, as no value of Python is written like that."""
_OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], {"": 0}, [1, 2, 3], [0.5, 0.5, 0.5], [-1, 2**40])


def extreme(rng: Random) -> Any:
    """A number, a text or another value that few programs expect."""
    return rng.choice((rng.choice(NUMBERS), rng.choice(NUMBERS), rng.choice(TEXTS), rng.choice(_OTHERS)))


# ---- bytes ----------------------------------------------------------------------------------------------------------


def edit_bytes(content: bytes, rng: Random) -> bytes:
    """A few changes that know nothing about the format: flips, cuts, copies, moves, and numbers of 1 to 8 bytes."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8, 30))):
        content = rng.choice(_BYTE_EDITS)(content, rng)
    return content


def _flip(content: bytes, rng: Random) -> bytes:
    changed = bytearray(content)
    if changed:
        changed[_place(content, rng) % len(changed)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _overwrite(content: bytes, rng: Random) -> bytes:
    at, patch = _place(content, rng), rng.choice((b"\0", b"\xff", b"\x80", b" ", b'"', rng.randbytes(1)))
    return content[:at] + patch + content[at + 1 :]


def _number(content: bytes, rng: Random) -> bytes:
    at, size = _place(content, rng), rng.choice((1, 2, 4, 8))
    value = rng.choice((0, 1, 2, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**64 - 1))
    number = (value % (1 << 8 * size)).to_bytes(size, "little")[:: rng.choice((1, -1))]
    return content[:at] + number + content[at + size :]


def _cut(content: bytes, rng: Random) -> bytes:
    return content[: _place(content, rng)]


def _drop(content: bytes, rng: Random) -> bytes:
    start, stop = _block(content, rng)
    return content[:start] + content[stop:]


def _copy(content: bytes, rng: Random) -> bytes:
    start, stop = _block(content, rng)
    return content[:stop] + content[start:stop] * rng.choice((1, 1, 2, 50)) + content[stop:]


def _splice(content: bytes, rng: Random) -> bytes:
    start, stop = _block(content, rng)
    at = _place(content, rng)
    return content[:at] + content[start:stop] + content[at + stop - start :]


def _insert(content: bytes, rng: Random) -> bytes:
    at = _place(content, rng)
    return content[:at] + rng.randbytes(rng.choice((1, 4, 100))) + content[at:]


_BYTE_EDITS: tuple[Callable[[bytes, Random], bytes], ...] = (
    *(_flip, _flip, _overwrite, _number, _number, _cut, _drop, _copy, _splice, _insert),
)


def _place(content: bytes, rng: Random) -> int:
    """Anywhere, and as often near the beginning, where headers are."""
    return rng.randrange(min(len(content), rng.choice((64, 512, len(content)))) + 1)


def _block(content: bytes, rng: Random) -> tuple[int, int]:
    start = _place(content, rng)
    return start, min(len(content), start + rng.choice((1, 2, 8, 100, 1000)))


# ---- JSON -----------------------------------------------------------------------------------------------------------


def edit_json(content: bytes, rng: Random, keys: tuple[str, ...] = ()) -> bytes:
    """A few changes to an object: values, keys and their order; `keys` are worth adding."""
    value = json.loads(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        value = _edited_value(value, rng, keys)
    text = json.dumps(value)
    for mark, raw in _RAW.items():
        text = text.replace(f'"{mark}"', raw)
    if rng.random() < 0.05 and isinstance(value, dict) and value and text.startswith("{"):
        text = f"{{{json.dumps(rng.choice(list(value)))}: 0, {text[1:]}"  # The same key twice.
    return text.encode(errors="surrogatepass")


def _edited_value(value: Any, rng: Random, keys: tuple[str, ...]) -> Any:
    places = list(_places(value))
    if not places:
        return rng.choice((value, extreme(rng)))
    holder, key = rng.choice(places)
    match rng.randrange(10):
        case 0 | 1 | 2:
            holder[key] = _strange(rng)
        case 3 | 4 | 5:
            holder[key] = _near(holder[key], rng)
        case 6:
            del holder[key]
        case 7:
            other, other_key = rng.choice(places)
            # A value moved into itself would have no end.
            holder[key] = json.loads(json.dumps(other[other_key]))
        case 8 if isinstance(holder, dict):
            holder[str(rng.choice(TEXTS))] = holder.pop(key)
        case _ if keys and isinstance(value, dict):
            value[rng.choice(keys)] = _strange(rng)
        case _:
            holder[key] = [holder[key]] * rng.choice((1, 2, 100))
    return value


def _strange(rng: Random) -> Any:
    return rng.choice(list(_RAW)) if rng.random() < 0.15 else extreme(rng)


def _near(value: Any, rng: Random) -> Any:
    """A value of the same kind, as a slip would make it."""
    match value:
        case bool():
            return not value
        case int() | float():
            return rng.choice((value + 1, value - 1, -value, value * 2, value * 1000, str(value), float(value)))
        case str():
            return rng.choice((value + "x", value[1:], value.upper(), value * 2, [value]))
        case list():
            return rng.choice((value[1:], value + value, value[::-1], value[:1], tuple(value[:1]) * 7))
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key or index) in a JSON value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in pairs:
        yield value, key
        yield from _places(child)
