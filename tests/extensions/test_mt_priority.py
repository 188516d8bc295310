"""MT-PRIORITY (RFC 6710): from -9 to 9."""

from __future__ import annotations

import pytest

from ehlo import LMTP, SMTP
from tests.extensions.support import Declares, offer
from tests.support import talk


@pytest.mark.parametrize("server_class", [SMTP, LMTP])
@pytest.mark.parametrize(("declared", "line"), [({"MT-PRIORITY": "MIXER"}, "MIXER"), ({"MT-PRIORITY"}, "")])
async def test_it_is_offered_with_its_profile_where_it_is_declared(
    server_class: type[SMTP], declared: dict[str, object], line: str
) -> None:
    async with talk(Declares(declared), server_class=server_class) as client:
        assert (await offer(client))["MT-PRIORITY"] == line


async def test_without_a_declaration_there_is_none() -> None:
    async with talk() as client:
        assert "MT-PRIORITY" not in await offer(client)
        assert (await client.ask("MAIL FROM:<a@example.com> MT-PRIORITY=1")).startswith("555 5.5.4 ")


@pytest.mark.parametrize("priority", range(-9, 10))
async def test_it_arrives_as_a_number_and_as_it_was_sent(priority: int) -> None:
    async with talk(Declares({"MT-PRIORITY"})) as client:
        assert await client.ask(f"MAIL FROM:<a@example.com> mt-Priority={priority}") == "250 2.1.0 OK"
        assert client.server.envelope.mail_parameters.mt_priority == priority
        assert client.server.envelope.mail_options == [f"mt-Priority={priority}"]


@pytest.mark.parametrize("value", ["", "=", "=10", "=-10", "=+1", "=-0", "=00", "=high", "=1.0", "=1 MT-PRIORITY=1"])
async def test_what_is_no_priority_is_refused(value: str) -> None:
    async with talk(Declares({"MT-PRIORITY"})) as client:
        assert (await client.ask(f"MAIL FROM:<a@example.com> MT-PRIORITY{value}")).startswith("501 5.5.4 ")
