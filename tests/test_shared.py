"""What connections have in common, and for how long it is kept."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from ehlo import LMTP, SMTP, Settings
from ehlo.protocol.tlsinfo import TLSInfo
from ehlo.shared import Shared, shared_by
from tests.support import Nothing

SETTINGS = Settings(hostname="mx.test")


class Other(SMTP):
    pass


class Tuple(NamedTuple):
    number: int = 5


def test_connections_of_one_handler_share() -> None:
    handler = Nothing()
    shared = SMTP(handler, settings=SETTINGS).shared
    assert SMTP(handler, settings=SETTINGS).shared is shared
    assert SMTP(handler, hostname="mx.test").shared is shared
    assert SMTP(handler, shared=shared).shared is shared
    assert SMTP(handler, shared=shared).settings is shared.settings


def test_other_handlers_classes_and_settings_have_their_own() -> None:
    handler = Nothing()
    shares = [
        SMTP(handler, settings=SETTINGS).shared,
        SMTP(Nothing(), settings=SETTINGS).shared,
        Other(handler, settings=SETTINGS).shared,
        LMTP(handler, settings=SETTINGS).shared,
        SMTP(handler, hostname="other.test").shared,
    ]
    assert len(set(shares)) == len(shares)


@pytest.mark.parametrize("handler", [Tuple(), 5, None, (1, 2)])
def test_a_handler_that_cannot_be_watched_works_too(handler: object) -> None:
    one, two = (shared_by(SMTP, handler, SETTINGS, {}) for _ in range(2))
    assert one is not two
    assert one.hooks == {}


def test_what_is_shared_goes_with_the_handler() -> None:
    handler = Nothing()
    reference = weakref.ref(SMTP(handler, settings=SETTINGS).shared)
    assert reference() is not None
    del handler
    gc.collect()
    assert reference() is None


def test_a_later_handler_at_the_same_address_is_another_one() -> None:
    """``id`` is used again when an object is gone; what was made for the first must not serve the second."""

    def shared_of(handler: object) -> Shared:
        return SMTP(handler, settings=SETTINGS).shared

    class One:
        async def handle_NOOP(self, *args: object) -> None:
            """A hook."""

    for _ in range(50):
        assert "NOOP" in shared_of(One()).hooks
        assert "NOOP" not in shared_of(Nothing()).hooks


def tls(*, has_certificate: bool = False, binding: str | None = None) -> TLSInfo:
    return TLSInfo(
        version="TLSv1.2",
        cipher="x",
        bits=128,
        peer_certificate={"subject": ()} if has_certificate else None,
        channel_bindings={binding: b"x"} if binding else {},
    )


def answer(*args: Any) -> Any:
    return False


ALL = dict.fromkeys(("check_password", "check_digest", "find_keys", "check_token", "identify_peer"), answer)
EVERYTHING: Any = SimpleNamespace(**ALL)
WITHOUT_BINDING = ("SCRAM-SHA-256", "OAUTHBEARER", "XOAUTH2", "CRAM-MD5", "PLAIN", "LOGIN")


@pytest.mark.parametrize(
    ("where", "mechanisms"),
    [
        (None, ()),
        (tls(), WITHOUT_BINDING),
        (tls(has_certificate=True), ("EXTERNAL", *WITHOUT_BINDING)),
        (tls(binding="tls-unique"), ("SCRAM-SHA-256-PLUS", *WITHOUT_BINDING)),
        (tls(binding="tls-exporter"), ("SCRAM-SHA-256-PLUS", *WITHOUT_BINDING)),
        (tls(binding="tls-server-end-point"), WITHOUT_BINDING),
        (tls(has_certificate=True, binding="tls-unique"), ("EXTERNAL", "SCRAM-SHA-256-PLUS", *WITHOUT_BINDING)),
    ],
)
def test_the_mechanisms_are_those_that_the_connection_can_honour(
    where: TLSInfo | None, mechanisms: tuple[str, ...]
) -> None:
    settings = Settings(hostname="mx.test", authenticator=EVERYTHING)
    shared = SMTP(Nothing(), settings=settings).shared
    assert shared.mechanisms(where) == mechanisms
    assert shared.can_authenticate
    lines = shared.offer(where).lines
    assert (f"AUTH {' '.join(mechanisms)}" in lines) is bool(mechanisms)


def test_on_a_plain_connection_nothing_is_offered_that_needs_tls() -> None:
    settings = Settings(hostname="mx.test", authenticator=EVERYTHING, auth_require_tls=False)
    assert SMTP(Nothing(), settings=settings).shared.mechanisms(None) == WITHOUT_BINDING


@pytest.mark.parametrize(
    ("names", "mechanisms"),
    [
        ((), ()),
        (("check_password",), ("PLAIN", "LOGIN")),
        (("find_keys",), ("SCRAM-SHA-256",)),
        (("check_digest",), ("CRAM-MD5",)),
        (("check_token",), ("OAUTHBEARER", "XOAUTH2")),
        (("check_password", "find_keys"), ("SCRAM-SHA-256", "PLAIN", "LOGIN")),
    ],
)
def test_the_mechanisms_are_those_that_the_authenticator_can_honour(
    names: tuple[str, ...], mechanisms: tuple[str, ...]
) -> None:
    maybe_authenticator: Any = SimpleNamespace(**dict.fromkeys(names, answer)) if names else None
    settings = Settings(hostname="mx.test", authenticator=maybe_authenticator)
    shared = SMTP(Nothing(), settings=settings).shared
    assert shared.mechanisms(tls()) == mechanisms
    assert shared.can_authenticate is bool(mechanisms)


def test_a_function_serves_the_mechanisms_that_bring_a_password() -> None:
    shared = SMTP(Nothing(), hostname="mx.test", authenticator=answer).shared
    assert shared.mechanisms(tls(has_certificate=True, binding="tls-unique")) == ("PLAIN", "LOGIN")


def test_mechanisms_may_be_excluded() -> None:
    settings = Settings(authenticator=EVERYTHING, auth_exclude_mechanism=["plain", "LOGIN", "cram-md5"])
    shared = SMTP(Nothing(), settings=settings).shared
    assert shared.mechanisms(tls()) == ("SCRAM-SHA-256", "OAUTHBEARER", "XOAUTH2")


def test_an_offer_is_made_once_for_each_state() -> None:
    shared = SMTP(Nothing(), hostname="mx.test", authenticator=answer).shared
    plain, encrypted = shared.offer(None), shared.offer(tls())
    assert shared.offer(None) is plain
    assert shared.offer(tls()) is encrypted
    assert plain is not encrypted
    assert plain.data.startswith(b"250-mx.test\r\n250-PIPELINING\r\n")
    assert plain.data.endswith(b"\r\n250 HELP\r\n")


def test_the_lines_of_mail_and_rcpt_are_longer_by_what_the_offered_parameters_need() -> None:
    def limit(handler: object, **parameters: Any) -> int:
        return SMTP(handler, hostname="mx.test", **parameters).shared.offer(None).path_line_limit

    alone = limit(Nothing(), data_size_limit=None, enable_SMTPUTF8=False)
    with_size = limit(Nothing(), enable_SMTPUTF8=False)
    assert with_size - alone == 26  # RFC 1870 §3
    assert limit(SimpleNamespace(honours={"DSN"})) >= alone + 500  # RFC 3461 §4.2


def test_an_offer_that_holds_a_date_is_made_anew() -> None:
    shared = Shared(SimpleNamespace(honours={"FUTURERELEASE": 60}), SETTINGS, {})
    assert shared.offer(None) is not shared.offer(None)
    assert any(line.startswith("FUTURERELEASE 60 ") for line in shared.offer(None).lines)


def test_the_host_name_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    names = iter(["found.example"])
    monkeypatch.setattr("socket.getfqdn", lambda: next(names))
    shared = Shared(Nothing(), Settings(), {})
    shared.look_up_hostname()
    shared.look_up_hostname()
    assert shared.hostname == "found.example"
    named = Shared(Nothing(), SETTINGS, {})
    named.look_up_hostname()
    assert named.hostname == "mx.test"


def test_threads_are_started_when_they_are_needed_and_end() -> None:
    shared = Shared(Nothing(), Settings(hook_threads=2), {})
    shared.close()
    pool = shared.threads
    assert shared.threads is pool
    name = pool.submit(lambda: __import__("threading").current_thread().name).result()
    assert name.startswith("ehlo-hook")
    shared.close()
    with pytest.raises(RuntimeError):
        pool.submit(print)
    again = shared.threads
    assert again is not pool
    shared.close()
