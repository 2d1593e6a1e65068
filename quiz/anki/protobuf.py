"""The little of Protocol Buffers' wire format that Anki's note types need: one text, one number.

https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def text_at(message: object, field: int) -> str:
    """The text of a field, empty where it is missing."""
    found = [value for number, value in _fields(message) if number == field and isinstance(value, bytes)]
    return found[-1].decode("utf-8", "replace") if found else ""


def number_at(message: object, field: int) -> int:
    found = [value for number, value in _fields(message) if number == field and isinstance(value, int)]
    return found[-1] if found else 0


def _fields(message: object) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of every field. ValueError where the message ends too early or is no message."""
    if not isinstance(message, bytes):
        raise ValueError("a configuration is not binary")
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, place = _varint(message, place)
            yield number, value
        elif wire == BYTES:
            length, place = _varint(message, place)
            yield number, _slice(message, place, length)
            place += length
        elif wire in (FIXED64, FIXED32):
            place += 8 if wire == FIXED64 else 4
        else:
            raise ValueError(f"unknown wire type {wire} in a configuration")


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = 0
    for count, byte in enumerate(message[place : place + 10]):
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value, place + count + 1
    raise ValueError("a configuration ends inside a number")


def _slice(message: bytes, place: int, length: int) -> bytes:
    if place + length > len(message):
        raise ValueError("a configuration ends inside a text")
    return message[place : place + length]
