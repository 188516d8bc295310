"""Who may say AUTH to the inbox: the logins of inboxes that were made, then those of a file of users, then anybody.

A login that belongs to an inbox needs that inbox's password even where any other will do: else anybody could write
into it.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from ehlo.inbox.accounts import name_of_login
from ehlo.protocol.credentials import ITERATIONS_DEFAULT, ScramKeys, derive_scram_keys

if TYPE_CHECKING:
    from ehlo.auth import FileAuthenticator
    from ehlo.inbox.accounts import Accounts
    from ehlo.inbox.users import UserFile
    from ehlo.protocol.sasl import Authorize, CheckDigest, CheckPassword, CheckToken, FindKeys
    from ehlo.session import Session


class AnyLogin:
    """An authenticator to which every login, digest and token is good, so that any program can say AUTH to it."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    async def check_password(self, question: CheckPassword, session: Session) -> bool:
        """PLAIN and LOGIN."""
        maybe_password = self._password_of(question.user)
        return maybe_password is None or is_same(question.password, maybe_password)

    async def check_digest(self, question: CheckDigest, session: Session) -> bool:
        """CRAM-MD5."""
        maybe_password = self._password_of(question.user)
        return maybe_password is None or question.proves(maybe_password)

    async def check_token(self, question: CheckToken, session: Session) -> bool:
        """OAUTHBEARER and XOAUTH2: to the login of an inbox, its password is the token."""
        maybe_password = self._password_of(question.user)
        return maybe_password is None or is_same(question.token, maybe_password)

    async def authorize(self, question: Authorize, session: Session) -> bool:
        """Act as another: not as one whose password was not given."""
        return self._password_of(question.authzid) is None

    def _password_of(self, login: str) -> str | None:
        """The password of the inbox that the login opens, also if it is only another spelling of its name."""
        return self._accounts.password_of(login) or self._accounts.password_of(name_of_login(login))


class KnownLogins:
    """An authenticator for the logins of inboxes, and those of a file if there is one."""

    def __init__(self, accounts: Accounts, maybe_file: FileAuthenticator | UserFile | None) -> None:
        self._accounts = accounts
        self._maybe_file = maybe_file

    @property
    def scram_iterations(self) -> int:
        """Those of the file's keys."""
        return ITERATIONS_DEFAULT if self._maybe_file is None else self._maybe_file.scram_iterations

    def check_password(self, question: CheckPassword, session: Session) -> bool:
        """PLAIN and LOGIN.  Plain on purpose: the file's keys take time to compute."""
        maybe_password = self._accounts.password_of(question.user)
        if maybe_password is not None:
            return is_same(question.password, maybe_password)
        return self._maybe_file is not None and self._maybe_file.check_password(question, session)

    async def check_digest(self, question: CheckDigest, session: Session) -> bool:
        """CRAM-MD5, which needs the password: of an inbox, or from a file that has it."""
        maybe_password = self._accounts.password_of(question.user)
        if maybe_password is None:
            maybe_password = self._password_in_file(question.user)
        return question.proves(maybe_password)

    async def check_token(self, question: CheckToken, session: Session) -> bool:
        """As in ``AnyLogin``."""
        maybe_password = self._accounts.password_of(question.user)
        return maybe_password is not None and is_same(question.token, maybe_password)

    def find_keys(self, question: FindKeys, session: Session) -> ScramKeys | None:
        """SCRAM-SHA-256.  Plain on purpose, as above."""
        maybe_password = self._accounts.password_of(question.user)
        if maybe_password is not None:
            return derive_scram_keys(maybe_password, iterations=self.scram_iterations)
        return None if self._maybe_file is None else self._maybe_file.find_keys(question, session)

    def _password_in_file(self, user: str) -> str | None:
        find = getattr(self._maybe_file, "password_of", None)  # a file of keys has none
        return None if find is None else find(user)


def is_same(given: str, expected: str) -> bool:
    """Whether two secrets are one, in a time that does not tell where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode())
