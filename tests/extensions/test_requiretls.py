"""REQUIRETLS (RFC 8689): on TLS only, and only where the handler says that it will insist on it further on."""

from __future__ import annotations

import pytest

from ehlo import LMTP, SMTP
from tests.extensions.support import Declares, offer, on_tls
from tests.support import talk


@pytest.mark.parametrize("server_class", [SMTP, LMTP])
async def test_it_is_offered_on_tls_where_it_is_declared(server_class: type[SMTP]) -> None:
    async with talk(Declares({"REQUIRETLS"}), server_class=server_class, extra=on_tls()) as client:
        assert (await offer(client))["REQUIRETLS"] == ""
        assert await client.ask("MAIL FROM:<a@example.com> requiretls") == "250 2.1.0 OK"
        assert client.server.envelope.mail_parameters.requiretls is True
        assert client.server.envelope.mail_options == ["requiretls"]


@pytest.mark.parametrize(
    ("honours", "extra"),
    [((), on_tls()), ({"REQUIRETLS"}, {}), ((), {})],
    ids=["not declared", "not on TLS", "neither"],
)
async def test_otherwise_it_is_not(honours: set[str], extra: dict[str, object]) -> None:
    # RFC 8689 §2 (1): "MUST NOT be advertised" without TLS.
    async with talk(Declares(honours), extra=extra) as client:
        assert "REQUIRETLS" not in await offer(client)
        assert (await client.ask("MAIL FROM:<a@example.com> REQUIRETLS")).startswith("555 5.5.4 ")


@pytest.mark.parametrize("value", ["=", "=YES", " REQUIRETLS"])
async def test_it_takes_no_value_and_comes_once(value: str) -> None:
    async with talk(Declares({"REQUIRETLS"}), extra=on_tls()) as client:
        assert (await client.ask(f"MAIL FROM:<a@example.com> REQUIRETLS{value}")).startswith("501 5.5.4 ")


async def test_what_is_not_asked_for_is_false() -> None:
    async with talk(Declares({"REQUIRETLS"}), extra=on_tls()) as client:
        await client.begin()
        assert client.server.envelope.mail_parameters.requiretls is False
        assert (await client.ask("RCPT TO:<b@example.com> REQUIRETLS")).startswith("555 5.5.4 ")
