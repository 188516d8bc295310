"""DELIVERBY (RFC 2852): deliver within a time, or say so."""

from __future__ import annotations

import pytest

from ehlo import LMTP, SMTP
from ehlo.protocol.parameters import ByMode, DeliverBy
from tests.extensions.support import Declares, offer
from tests.support import talk


@pytest.mark.parametrize("server_class", [SMTP, LMTP])
@pytest.mark.parametrize(
    ("declared", "line"), [({"DELIVERBY": 120}, "120"), ({"DELIVERBY": None}, ""), ({"DELIVERBY"}, "")]
)
async def test_it_is_offered_with_the_least_time_where_it_is_declared(
    server_class: type[SMTP], declared: dict[str, object], line: str
) -> None:
    async with talk(Declares(declared), server_class=server_class) as client:
        assert (await offer(client))["DELIVERBY"] == line


async def test_without_a_declaration_there_is_none() -> None:
    async with talk() as client:
        assert "DELIVERBY" not in await offer(client)
        assert (await client.ask("MAIL FROM:<a@example.com> BY=120;R")).startswith("555 5.5.4 ")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("120;R", DeliverBy(120, ByMode.RETURN, trace=False)),
        ("+120;r", DeliverBy(120, ByMode.RETURN, trace=False)),
        ("999999999;RT", DeliverBy(999_999_999, ByMode.RETURN, trace=True)),
        ("0;N", DeliverBy(0, ByMode.NOTIFY, trace=False)),
        ("-60;nt", DeliverBy(-60, ByMode.NOTIFY, trace=True)),
    ],
)
async def test_by_arrives_as_a_typed_value_and_as_it_was_sent(value: str, expected: DeliverBy) -> None:
    async with talk(Declares({"DELIVERBY"})) as client:
        assert await client.ask(f"MAIL FROM:<a@example.com> By={value}") == "250 2.1.0 OK"
        assert client.server.envelope.mail_parameters.deliver_by == expected
        assert client.server.envelope.mail_options == [f"By={value}"]


@pytest.mark.parametrize(
    "value", ["", "=", "=120", "=;R", "=120;X", "=120;RN", "=120;TR", "=1234567890;R", "=1.5;R", "=120;R BY=120;R"]
)
async def test_what_is_no_by_is_refused(value: str) -> None:
    async with talk(Declares({"DELIVERBY"})) as client:
        assert (await client.ask(f"MAIL FROM:<a@example.com> BY{value}")).startswith("501 5.5.4 ")


@pytest.mark.parametrize("value", ["0;R", "-1;R", "-1;RT"])
async def test_no_time_at_all_is_refused_with_return(value: str) -> None:
    # RFC 2852 §4: a syntax error.
    async with talk(Declares({"DELIVERBY"})) as client:
        assert (await client.ask(f"MAIL FROM:<a@example.com> BY={value}")).startswith("501 5.5.4 ")


async def test_less_than_the_least_is_refused_with_return_only() -> None:
    async with talk(Declares({"DELIVERBY": 120})) as client:
        assert (await client.ask("MAIL FROM:<a@example.com> BY=119;R")).startswith("501 5.5.4 ")
        assert (await client.ask("MAIL FROM:<a@example.com> BY=119;N")).startswith("250 ")
        await client.ask("RSET")
        assert (await client.ask("MAIL FROM:<a@example.com> BY=120;R")).startswith("250 ")
