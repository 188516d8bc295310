from __future__ import annotations

import base64

from hypothesis import given
from hypothesis import strategies as st

from ehlo.mime.encodings import decode_base64, decode_body


@given(st.binary(max_size=100))
def test_base64_is_decoded_whatever_is_between(data: bytes) -> None:
    digits = base64.b64encode(data)
    assert decode_base64(b"\r\n".join(digits[i : i + 7] for i in range(0, len(digits), 7))) == data
    assert decode_base64(digits.rstrip(b"=")) == data
    assert decode_base64(b"!" + digits) == data


@given(st.binary(max_size=100), st.sampled_from(["base64", "quoted-printable", "7bit", "x-odd", ""]))
def test_any_body_is_decoded(data: bytes, encoding: str) -> None:
    assert isinstance(decode_body(data, encoding), bytes)
