"""Whatever octets a client sends, every mechanism comes to an end: Success by the caller's grace, or a Failure."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.protocol.credentials import LoginPassword, derive_scram_keys
from ehlo.protocol.sasl import (
    MECHANISMS,
    Authorize,
    Challenge,
    CheckDigest,
    CheckPassword,
    CheckToken,
    Context,
    Exchange,
    Failure,
    FindKeys,
    IdentifyPeer,
    Question,
)
from ehlo.protocol.sasl.gs2 import read_gs2_header, read_saslname
from ehlo.protocol.saslprep import saslprep

KEYS = derive_scram_keys("pencil", iterations=4096)
BINDINGS = {"tls-unique": b"x" * 12}
STATUSES = {
    "535 5.7.8 Authentication credentials invalid",
    "501 5.5.2 Malformed authentication response",
    "501 5.7.0 Malformed authentication response",
}

# What messages are made of, so that garbage gets past the first check.
PIECES = st.sampled_from(
    [
        b"\0",
        b"\x01",
        b",",
        b"=",
        b" ",
        b"n,,",
        b"y,,",
        b"n,a=b,",
        b"p=tls-unique,,",
        b"n=user,",
        b"r=nonce",
        b"n=u=2Cv,r=x",
        b"c=biws,",
        b",p=" + base64.b64encode(b"p" * 32),
        b"user=",
        b"auth=Bearer x",
        b"user",
        b"0" * 32,
        "\u0627".encode(),
        "\u00ad".encode(),
        "\u2168".encode(),
        b"\xff",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"x" * 1100,
    ]
)
GARBAGE = st.binary(max_size=200) | st.lists(PIECES, max_size=8).map(b"".join)


def refuse_all(question: Question) -> object:
    """The caller who lets nobody in."""
    table: dict[type[Question], Any] = {
        CheckPassword: False,
        CheckDigest: False,
        CheckToken: False,
        FindKeys: None,
        IdentifyPeer: None,
        Authorize: False,
    }
    return table[type(question)]


def accept_all(question: Question) -> object:
    """The caller who would let everybody in, to get as far as can be got."""
    table: dict[type[Question], Any] = {
        CheckPassword: True,
        CheckDigest: True,
        CheckToken: True,
        FindKeys: KEYS,
        IdentifyPeer: "somebody",
        Authorize: True,
    }
    return table[type(question)]


@pytest.mark.parametrize("name", list(MECHANISMS))
@given(data=st.data())
def test_garbage_ends_in_an_outcome_and_nobody_is_let_in(name: str, data: st.DataObject) -> None:
    context = Context(
        channel_bindings=data.draw(st.sampled_from([{}, BINDINGS])),
        scram_iterations=4096,
    )
    answer = data.draw(st.sampled_from([refuse_all, accept_all]))
    exchange = Exchange(MECHANISMS[name], context)
    step = exchange.begin(data.draw(st.none() | GARBAGE))
    for _ in range(8):
        if not isinstance(step, Question):
            break
        step = exchange.answer(data.draw(GARBAGE) if isinstance(step, Challenge) else answer(step))
    assert not isinstance(step, Question)
    if isinstance(step, Failure):
        assert step.error.status in STATUSES
    else:
        assert answer is accept_all
        assert not name.startswith("SCRAM")
        assert step.identity.mechanism == name
        assert step.identity.authcid
        assert step.identity.authzid


@given(data=GARBAGE)
def test_a_password_that_is_checked_is_prepared_text(data: bytes) -> None:
    step = Exchange(MECHANISMS["PLAIN"], Context()).begin(b"\0user\0" + data)
    if isinstance(step, CheckPassword):
        assert step.credentials == LoginPassword(b"user", data)
        assert saslprep(step.password)
    else:
        assert isinstance(step, Failure)


@given(name=st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=50))
def test_a_saslname_is_read_as_it_was_written(name: str) -> None:
    written = name.replace("=", "=3D").replace(",", "=2C").encode()
    assert read_saslname(written) == name
    header = read_gs2_header(b"n,a=" + written + b",rest")
    assert (header.flag, header.authzid, header.octets) == ("n", name, b"n,a=" + written + b",")
