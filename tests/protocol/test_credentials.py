from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.protocol.credentials import (
    ITERATIONS_DEFAULT,
    ITERATIONS_MAX,
    LoginPassword,
    ScramKeys,
    derive_scram_keys,
    fake_keys,
    format_scram_keys,
    parse_scram_keys,
    verify_password,
)

SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
PENCIL = derive_scram_keys("pencil", salt=SALT, iterations=4096)
# The keys of RFC 7677 §3's example; "doveadm pw" and PostgreSQL write the like.
STORED = "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
SERVER = "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
DOVECOT = f"{{SCRAM-SHA-256}}4096,W22ZaJ0SNY7soEsUEjb6gQ==,{STORED},{SERVER}"
RFC_5803 = f"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==${STORED}:{SERVER}"


def test_a_login_password_hides_its_password_in_every_form() -> None:
    credentials = LoginPassword(b"user", b"horse")
    assert repr(credentials) == str(credentials) == f"{credentials}" == "LoginPassword(login='user', password=...)"
    assert "horse" not in repr([credentials])


def test_a_login_password_shows_octets_that_are_no_text() -> None:
    assert repr(LoginPassword(b"\xff'", b"horse")) == 'LoginPassword(login="\\\\xff\'", password=...)'


def test_a_login_password_is_a_pair() -> None:
    login, password = LoginPassword(b"user", b"horse")
    assert (login, password) == (b"user", b"horse")


def test_keys_show_no_key_and_no_salt() -> None:
    assert repr(PENCIL) == "ScramKeys(iterations=4096)"


def test_the_keys_of_the_example_of_rfc_7677() -> None:
    assert format_scram_keys(PENCIL) == DOVECOT


@pytest.mark.parametrize("text", [DOVECOT, RFC_5803])
def test_keys_are_read_in_both_forms(text: str) -> None:
    assert parse_scram_keys(text) == PENCIL


@given(
    salt=st.binary(min_size=1, max_size=64),
    iterations=st.integers(4096, ITERATIONS_MAX),
    stored_key=st.binary(min_size=32, max_size=32),
    server_key=st.binary(min_size=32, max_size=32),
)
def test_keys_are_read_as_they_were_written(salt: bytes, iterations: int, stored_key: bytes, server_key: bytes) -> None:
    keys = ScramKeys(salt, iterations, stored_key, server_key)
    assert parse_scram_keys(format_scram_keys(keys)) == keys


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pencil",
        "{PLAIN}pencil",
        "{CRAM-MD5}9186d855e11eba527a7a52ca82b313e180d62234f0acc9051b527243d41e2740",
        "{scram-sha-256}" + DOVECOT[15:],
        "{SCRAM-SHA-1}" + DOVECOT[15:],
        DOVECOT + ",",
        DOVECOT + "\n",
        " " + DOVECOT,
        DOVECOT.replace("4096", "4095"),
        DOVECOT.replace("4096", "04096"),
        DOVECOT.replace("4096", "10000001"),
        DOVECOT.replace("4096", "9" * 5000),
        DOVECOT.replace("4096", "\u0664\u0660\u0669\u0666"),
        DOVECOT.replace("W22ZaJ0SNY7soEsUEjb6gQ==", ""),
        DOVECOT.replace("W22ZaJ0SNY7soEsUEjb6gQ==", "W22ZaJ0SNY7soEsUEjb6gQ"),
        DOVECOT.replace("W22Z", "W22\u00df"),
        DOVECOT.replace("W22Z", "W2 2Z"),
        DOVECOT.replace("WG5d", ""),
        DOVECOT.replace("wfPL", "wfPLwfPL"),
        RFC_5803.replace("$4096", ",4096"),
    ],
)
def test_what_is_no_key_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_scram_keys(text)
    assert "WG5d" not in str(caught.value)
    assert "pencil" not in str(caught.value)


@given(text=st.text() | st.text("{}SCRAM-SHA-256$:,=4096Aa"))
def test_any_text_is_keys_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_scram_keys(text).iterations >= 4096


def test_a_password_is_verified() -> None:
    assert verify_password(PENCIL, "pencil")
    assert not verify_password(PENCIL, "pencils")
    assert not verify_password(PENCIL, "")


@pytest.mark.parametrize("password", ["pencil\x07", "\u0627\u0031", "\ud800"])
def test_a_password_that_saslprep_refuses_matches_nothing(password: str) -> None:
    assert not verify_password(PENCIL, password)


def test_two_spellings_of_a_password_are_one() -> None:
    assert verify_password(derive_scram_keys("su\u0308\u00df\u2168", iterations=4096), "süßIX")


def test_the_salt_is_new_every_time_and_has_128_bits() -> None:
    salts = {derive_scram_keys("pencil", iterations=4096).salt for _ in range(5)}
    assert len(salts) == 5
    assert {len(salt) for salt in salts} == {16}


def test_the_default_is_what_clients_accept_at_most() -> None:
    assert derive_scram_keys("pencil").iterations == ITERATIONS_DEFAULT == 100_000


@pytest.mark.parametrize("password", ["", "\u00ad", "a\tb", "\U0001f600"])
def test_no_keys_are_derived_from_what_saslprep_refuses_or_empties(password: str) -> None:
    with pytest.raises(ValueError, match=r"password|character"):
        derive_scram_keys(password, iterations=4096)


@pytest.mark.parametrize("iterations", [-1, 0, 4095, ITERATIONS_MAX + 1])
def test_too_few_and_too_many_iterations_are_refused_at_once(iterations: int) -> None:
    with pytest.raises(ValueError, match="iterations"):
        derive_scram_keys("pencil", iterations=iterations)


@pytest.mark.parametrize(("salt", "key"), [(b"", b"k" * 32), (b"s", b"k" * 31), (b"s", b"k" * 33)])
def test_keys_of_the_wrong_size_are_refused(salt: bytes, key: bytes) -> None:
    with pytest.raises(ValueError, match=r"salt|octets"):
        ScramKeys(salt, 4096, key, b"k" * 32)
    with pytest.raises(ValueError, match=r"salt|octets"):
        ScramKeys(salt, 4096, b"k" * 32, key)


def test_fake_keys_are_the_same_for_the_same_user_and_secret() -> None:
    assert fake_keys("nobody", b"secret") == fake_keys("nobody", b"secret")
    assert fake_keys("nobody", b"secret").salt != fake_keys("noone", b"secret").salt
    assert fake_keys("nobody", b"secret").salt != fake_keys("nobody", b"other").salt


def test_fake_keys_look_like_new_ones() -> None:
    real, fake = derive_scram_keys("pencil", iterations=4096), fake_keys("nobody", b"secret", 4096)
    assert (len(fake.salt), fake.iterations) == (len(real.salt), real.iterations)
    assert len({fake.salt, fake.stored_key, fake.server_key}) == 3
