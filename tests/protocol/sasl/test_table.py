from __future__ import annotations

import itertools

import pytest

from ehlo.protocol.sasl import (
    MECHANISMS,
    CheckDigest,
    CheckPassword,
    CheckToken,
    Context,
    FindKeys,
    IdentifyPeer,
    Question,
    offered,
)

# What each question enables, with and without a channel binding.
NEEDS: dict[str, type[Question]] = {
    "EXTERNAL": IdentifyPeer,
    "SCRAM-SHA-256-PLUS": FindKeys,
    "SCRAM-SHA-256": FindKeys,
    "OAUTHBEARER": CheckToken,
    "XOAUTH2": CheckToken,
    "CRAM-MD5": CheckDigest,
    "PLAIN": CheckPassword,
    "LOGIN": CheckPassword,
}
QUESTIONS: list[type[Question]] = [CheckPassword, CheckDigest, CheckToken, FindKeys, IdentifyPeer]


def test_the_table_has_each_mechanism_under_its_name_strongest_first() -> None:
    assert list(MECHANISMS) == list(NEEDS)
    assert [mechanism.name for mechanism in MECHANISMS.values()] == list(NEEDS)


@pytest.mark.parametrize("bindings", [{}, {"tls-unique": b"x"}])
def test_a_mechanism_is_offered_if_and_only_if_its_question_can_be_answered(bindings: dict[str, bytes]) -> None:
    for answers in itertools.product([True, False], repeat=len(QUESTIONS)):
        answerable = set(itertools.compress(QUESTIONS, answers))
        expected = [
            name for name, need in NEEDS.items() if need in answerable and (bindings or not name.endswith("-PLUS"))
        ]
        assert offered(answerable, Context(channel_bindings=bindings)) == expected


def test_a_password_check_alone_enables_plain_and_login_alone() -> None:
    assert offered({CheckPassword}, Context(channel_bindings={"tls-unique": b"x"})) == ["PLAIN", "LOGIN"]


def test_what_an_eavesdropper_can_use_is_marked() -> None:
    plaintext = {name for name, mechanism in MECHANISMS.items() if mechanism.is_plaintext}
    assert plaintext == {"PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2"}


def test_names_are_those_of_sasl() -> None:
    # RFC 4422 §3.1: 1 to 20 characters of upper case, digits, "-" and "_".
    for name in MECHANISMS:
        assert 1 <= len(name) <= 20
        assert set(name) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
