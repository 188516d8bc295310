from __future__ import annotations

import pytest

from ehlo.mime.multipart import is_closed, spans


@pytest.mark.parametrize(
    ("body", "parts", "closed"),
    [
        (b"--b\r\none\r\n--b\r\ntwo\r\n--b--\r\n", [b"one", b"two"], True),
        (b"preamble\r\n--b \t\r\none\r\n--b--", [b"one"], True),
        (b"--b\none\n--b-- \nepilogue\n--b\n", [b"one"], True),
        (b"--b\r\none\r\n", [b"one\r\n"], False),
        (b"--b\r\none\r\n--bc--\r\n--b-\r\n", [b"one\r\n--bc--\r\n--b-\r\n"], False),
        (b"--b--\r\n", [], True),
        (b"", [], False),
    ],
)
def test_delimiters_part_a_body_until_one_closes_it(body: bytes, parts: list[bytes], closed: bool) -> None:
    raw = b"x: y\r\n\r\n" + body

    assert [raw[start:end] for start, end in spans(raw, 8, len(raw), b"b")] == parts
    assert is_closed(raw, 8, len(raw), b"b") is closed
