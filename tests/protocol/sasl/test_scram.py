from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any
from unittest import mock

import pytest

from ehlo.protocol.credentials import ScramKeys, derive_scram_keys
from ehlo.protocol.sasl import MECHANISMS, Authorize, Challenge, Context, Exchange, Failure, FindKeys, Success
from tests.protocol.sasl.driver import Answers, Record, ScramClient, converse, says

INVALID = "535 5.7.8 Authentication credentials invalid"
MALFORMED = "501 5.5.2 Malformed authentication response"
BINDINGS = {"tls-unique": b"unique octets", "tls-server-end-point": b"a hash", "tls-exporter": b"exported octets"}

KEYS = {
    "user": derive_scram_keys("pencil", salt=base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), iterations=4096),
    "a=b,c": derive_scram_keys("pencil", iterations=4096),
    "jürgen": derive_scram_keys("süß", iterations=4096),
}
ANSWERS: Answers = {FindKeys: lambda question: KEYS.get(question.user)}
# The nonce of the server in RFC 7677 §3.
CONTEXT = Context(random_text=lambda _size: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", scram_iterations=4096)
BOUND = Context(channel_bindings=BINDINGS, scram_iterations=4096)

CLIENT_FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
NONCE = b"rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
SERVER_FIRST = b"r=" + NONCE + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
CLIENT_FINAL = b"c=biws,r=" + NONCE + b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def scram(client: ScramClient, context: Context = CONTEXT, answers: Answers = ANSWERS) -> Record:
    return converse("SCRAM-SHA-256", client.first, client.respond, answers, context)


def plus(client: ScramClient, context: Context = BOUND) -> Record:
    return converse("SCRAM-SHA-256-PLUS", client.first, client.respond, ANSWERS, context)


def answer_final(client_final: bytes, context: Context = CONTEXT) -> Record:
    return converse("SCRAM-SHA-256", CLIENT_FIRST, says(client_final, b""), ANSWERS, context)


def test_the_example_of_rfc_7677() -> None:
    record = converse("SCRAM-SHA-256", CLIENT_FIRST, says(CLIENT_FINAL, b""), ANSWERS, CONTEXT)
    assert record.challenges == [SERVER_FIRST, SERVER_FINAL]
    assert record.identity == ("user", "user", "SCRAM-SHA-256")


def test_an_exchange_without_initial_response_gets_an_empty_challenge() -> None:
    client = ScramClient("user", "pencil")
    record = converse("SCRAM-SHA-256", None, client.respond, ANSWERS, CONTEXT)
    assert record.challenges[0] == b""
    assert record.identity.authcid == "user"


@pytest.mark.parametrize(("user", "password"), [("user", "pencil"), ("a=b,c", "pencil"), ("jürgen", "süß")])
def test_both_sides_prove_that_they_know_the_password(user: str, password: str) -> None:
    client = ScramClient(user, password)
    assert scram(client).identity.authcid == user
    assert client.is_server_proven


def test_nobody_is_let_in_before_the_client_has_answered_the_last_challenge() -> None:
    exchange = Exchange(MECHANISMS["SCRAM-SHA-256"], CONTEXT)
    exchange.begin(CLIENT_FIRST)
    exchange.answer(KEYS["user"])
    assert exchange.answer(CLIENT_FINAL) == Challenge(SERVER_FINAL)
    assert isinstance(exchange.answer(b""), Success)


def test_the_last_answer_must_be_empty() -> None:
    assert converse("SCRAM-SHA-256", CLIENT_FIRST, says(CLIENT_FINAL, b"v"), ANSWERS, CONTEXT).status == MALFORMED


def test_a_wrong_password_is_refused_without_a_server_final_message() -> None:
    record = scram(ScramClient("user", "pen"))
    assert (record.status, record.detail) == (INVALID, "wrong user name or password")
    assert len(record.challenges) == 1


def test_an_unknown_user_gets_the_same_dialogue_and_the_same_refusal() -> None:
    known, unknown = scram(ScramClient("user", "pen")), scram(ScramClient("nobody", "pen"))
    assert (unknown.status, unknown.detail) == (known.status, known.detail)
    assert [len(data) for data in unknown.challenges] == [len(data) for data in known.challenges]


def test_an_unknown_user_has_the_same_salt_every_time_and_another_than_the_next() -> None:
    salts = [
        dict(part.split(b"=", 1) for part in scram(ScramClient(user, "x")).challenges[0].split(b","))[b"s"]
        for user in ("nobody", "nobody", "noone")
    ]
    assert salts[0] == salts[1] != salts[2]


def test_a_tampered_proof_is_refused_whichever_bit_it_is() -> None:
    head, _, proof = CLIENT_FINAL.rpartition(b"p=")
    octets = base64.b64decode(proof)
    for position in range(len(octets) * 8):
        tampered = bytearray(octets)
        tampered[position // 8] ^= 1 << position % 8
        assert answer_final(head + b"p=" + base64.b64encode(tampered)).status == INVALID


@pytest.mark.parametrize("nonce", [NONCE[:-1], NONCE + b"x", b"rOprNGfwEbeRWgbNEkqO", b"other", NONCE.swapcase()])
def test_a_wrong_nonce_is_refused(nonce: bytes) -> None:
    record = answer_final(CLIENT_FINAL.replace(NONCE, nonce))
    assert (record.status, record.detail) == (INVALID, "wrong nonce")


def test_a_replay_is_refused_because_the_nonce_of_the_server_is_new() -> None:
    record = answer_final(CLIENT_FINAL, Context())
    assert (record.status, record.detail) == (INVALID, "wrong nonce")


def test_the_nonce_of_the_server_never_comes_twice() -> None:
    nonces = {converse("SCRAM-SHA-256", CLIENT_FIRST, says(b"?"), ANSWERS, Context()).challenges[0] for _ in range(10)}
    assert len(nonces) == 10


def test_the_flag_y_is_honest_where_plus_is_not_offered() -> None:
    assert scram(ScramClient("user", "pencil", gs2="y,,")).identity.authcid == "user"


def test_the_flag_y_where_plus_is_offered_betrays_a_downgrade() -> None:
    record = scram(ScramClient("user", "pencil", gs2="y,,"), BOUND)
    assert record.status == INVALID
    assert "downgrade" in record.detail
    assert record.challenges == []
    assert record.questions == []


def test_the_flag_n_is_accepted_where_plus_is_offered() -> None:
    assert scram(ScramClient("user", "pencil"), BOUND).identity.authcid == "user"


def test_a_man_in_the_middle_who_turns_y_into_n_breaks_the_proof() -> None:
    client = ScramClient("user", "pencil", gs2="y,,")
    record = converse("SCRAM-SHA-256", b"n" + client.first[1:], client.respond, ANSWERS, BOUND)
    assert (record.status, record.detail) == (INVALID, "channel bindings do not match")


@pytest.mark.parametrize("name", list(BINDINGS))
def test_plus_binds_the_channel_by_each_binding(name: str) -> None:
    client = ScramClient("user", "pencil", gs2=f"p={name},,", binding=BINDINGS[name])
    assert plus(client).identity == ("user", "user", "SCRAM-SHA-256-PLUS")
    assert client.is_server_proven


@pytest.mark.parametrize("binding", [b"", b"other octets", BINDINGS["tls-exporter"], b"unique octets!"])
def test_plus_refuses_the_binding_of_another_channel(binding: bytes) -> None:
    record = plus(ScramClient("user", "pencil", gs2="p=tls-unique,,", binding=binding))
    assert (record.status, record.detail) == (INVALID, "channel bindings do not match")


@pytest.mark.parametrize("name", ["tls-unique-for-telnet", "TLS-UNIQUE", "x"])
def test_plus_refuses_a_binding_that_is_not_there(name: str) -> None:
    record = plus(ScramClient("user", "pencil", gs2=f"p={name},,", binding=b"x"))
    assert (record.status, record.detail) == (INVALID, "no such channel binding here")


def test_plus_takes_no_empty_binding_for_a_binding() -> None:
    client = ScramClient("user", "pencil", gs2="p=tls-unique,,")
    assert plus(client, Context(channel_bindings={"tls-unique": b""})).status == INVALID


@pytest.mark.parametrize("flag", ["n", "y"])
def test_plus_wants_a_binding(flag: str) -> None:
    assert plus(ScramClient("user", "pencil", gs2=f"{flag},,")).status == MALFORMED


def test_without_plus_a_binding_is_refused() -> None:
    client = ScramClient("user", "pencil", gs2="p=tls-unique,,", binding=BINDINGS["tls-unique"])
    assert scram(client, BOUND).status == MALFORMED


def test_plus_without_initial_response_gets_an_empty_challenge() -> None:
    client = ScramClient("user", "pencil", gs2="p=tls-unique,,", binding=BINDINGS["tls-unique"])
    record = converse("SCRAM-SHA-256-PLUS", None, client.respond, ANSWERS, BOUND)
    assert record.challenges[0] == b""
    assert record.identity.authcid == "user"


def test_mutt_names_itself_as_the_authorization_identity_and_nobody_is_asked() -> None:
    record = scram(ScramClient("user", "pencil", gs2="n,a=user,"))
    assert record.identity.authzid == "user"
    assert len(record.questions) == 1


@pytest.mark.parametrize("is_allowed", [True, False])
def test_another_authorization_identity_is_asked_for_before_the_server_proves_itself(is_allowed: bool) -> None:
    asked: list[Any] = []

    def may_act(question: Authorize) -> bool:
        asked.append(question)
        return is_allowed

    record = scram(ScramClient("user", "pencil", gs2="n,a=b=2Cc,"), answers={**ANSWERS, Authorize: may_act})
    assert asked == [Authorize("user", "b,c")]
    assert len(record.challenges) == (2 if is_allowed else 1)
    assert isinstance(record.outcome, Success if is_allowed else Failure)


def test_extensions_are_ignored_but_proven() -> None:
    client = ScramClient("user", "pencil")
    client.first_bare += ",x=something"
    assert scram(client).identity.authcid == "user"


def test_an_extension_added_on_the_way_breaks_the_proof() -> None:
    assert answer_final(CLIENT_FINAL.replace(b",p=", b",x=1,p=")).status == INVALID


@pytest.mark.parametrize(
    "client_first",
    [
        b"",
        b"n",
        b"n,",
        b"n,,",
        b"x,,n=user,r=nonce",
        b"p=,,n=user,r=nonce",
        b"N,,n=user,r=nonce",
        b"n,user,n=user,r=nonce",
        b"n,a=,n=user,r=nonce",
        b"n,a=b=2c,n=user,r=nonce",
        b"n,,r=nonce,n=user",
        b"n,,n=user",
        b"n,,n=,r=nonce",
        b"n,,n=user,r=",
        b"n,,n=user,r=non ce",
        b"n,,n=user,r=" + b"x" * 1025,
        b"n,,m=mandatory,n=user,r=nonce",  # RFC 5802 §5.1: must fail
        b"n,,n=user,r=nonce,m=mandatory",
        b"n,,n=us=er,r=nonce",  # RFC 5802 §5.1: must fail
        b"n,,n=us=2cer,r=nonce",
        b"n,,n=user\0,r=nonce",
        b"n,,n=\xff,r=nonce",
        b"n,,n=" + b"u" * 1025 + b",r=nonce",
        b"n,,n=user,r=nonce\n",
        b"n,,n=user,r=nonce,",
    ],
)
def test_what_is_no_client_first_message_is_malformed_and_nobody_is_asked(client_first: bytes) -> None:
    record = converse("SCRAM-SHA-256", client_first, says(), ANSWERS, CONTEXT)
    assert record.status == MALFORMED
    assert record.questions == []


@pytest.mark.parametrize("user", ["\x07", "\u0627\u0031", "\u00ad", "\ufffd"])
def test_a_name_that_saslprep_refuses_is_refused(user: str) -> None:
    assert converse("SCRAM-SHA-256", f"n,,n={user},r=x".encode(), says(), ANSWERS, CONTEXT).status == INVALID


def test_a_name_is_prepared_for_the_lookup_and_proven_as_it_was_sent() -> None:
    assert scram(ScramClient("u\u00adser", "pencil")).identity.authcid == "user"


@pytest.mark.parametrize(
    "client_final",
    [
        b"",
        b"c=biws",
        b"c=biws,r=" + NONCE,
        b"r=" + NONCE + b",c=biws,p=AAAA",
        CLIENT_FINAL + b",x=1",
        CLIENT_FINAL + b"\n",
        CLIENT_FINAL.replace(b"biws", b"!"),
        CLIENT_FINAL.replace(b"biws", b"biw"),
        CLIENT_FINAL.replace(b"biws", b"b=iws"),
        CLIENT_FINAL.replace(b"dHzb", b""),
        CLIENT_FINAL.replace(b"dHzb", b"dHzbdHzb"),
        CLIENT_FINAL.replace(b",p=", b",m=1,p="),
    ],
)
def test_what_is_no_client_final_message_is_malformed(client_final: bytes) -> None:
    assert answer_final(client_final).status == MALFORMED


def test_keys_of_any_other_type_are_an_error_of_the_caller() -> None:
    exchange = Exchange(MECHANISMS["SCRAM-SHA-256"], CONTEXT)
    exchange.begin(CLIENT_FIRST)
    with pytest.raises(TypeError, match="FindKeys wants ScramKeys or NoneType, not str"):
        exchange.answer("pencil")


def test_a_stolen_stored_key_makes_no_proof() -> None:
    class Thief(ScramClient):
        def final(self, server_first: bytes) -> bytes:
            super().final(server_first)
            head = server_first.split(b",")[0]
            return b"c=biws," + head + b",p=" + base64.b64encode(KEYS["user"].stored_key)

    assert scram(Thief("user", "")).status == INVALID


def test_nobody_gets_in_by_the_fake_keys() -> None:
    # Even a proof that is right for them: the ClientKey is not known, so make StoredKey from one.
    client_key = b"k" * 32
    keys = ScramKeys(b"salt", 4096, hashlib.sha256(client_key).digest(), b"s" * 32)

    class Guesser(ScramClient):
        def final(self, server_first: bytes) -> bytes:
            without_proof = b"c=biws," + server_first.split(b",")[0]
            message = b",".join((self.first_bare.encode(), server_first, without_proof))
            signature = hmac.digest(keys.stored_key, message, "sha256")
            proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
            return without_proof + b",p=" + base64.b64encode(proof)

    assert scram(Guesser("user", ""), answers={FindKeys: lambda _question: keys}).identity.authcid == "user"
    with mock.patch("ehlo.protocol.sasl.scram.fake_keys", return_value=keys):
        assert scram(Guesser("nobody", "")).status == INVALID
