"""What mechanisms are made of what a server's owner gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ehlo import AuthResult, auth_mechanism
from ehlo.auth import ANSWERS, FileAuthenticator, LoginPassword, find_answers, mechanism_name
from ehlo.credentials import password_line
from ehlo.protocol import sasl

if TYPE_CHECKING:
    from pathlib import Path


def function(*args: Any) -> None:
    """An authenticator, or a mechanism."""


class Some:
    def check_password(self, question: sasl.CheckPassword, session: Any) -> bool:
        return True

    def find_keys(self, question: sasl.FindKeys, session: Any) -> None:
        return None


def test_every_question_that_is_not_for_the_client_has_a_method() -> None:
    questions = {question.__name__ for question in sasl.Question.__subclasses__()} - {"Challenge"}
    assert {question.__name__ for question in ANSWERS} == questions
    assert {mechanism.needs for mechanism in sasl.MECHANISMS.values()} <= ANSWERS.keys()


def test_an_object_answers_the_questions_that_it_has_methods_for() -> None:
    some = Some()
    assert find_answers(some) == {sasl.CheckPassword: some.check_password, sasl.FindKeys: some.find_keys}


@pytest.mark.parametrize("authenticator", [None, function, lambda *args: True])
def test_a_function_and_nothing_answer_none_of_them(authenticator: object) -> None:
    assert find_answers(authenticator) == {}


@pytest.mark.parametrize("authenticator", [5, "ann", object(), {"ann": "secret"}])
def test_anything_else_is_refused(authenticator: object) -> None:
    with pytest.raises(TypeError, match="check_password, check_digest"):
        find_answers(authenticator)


@pytest.mark.parametrize(
    ("method_name", "name"),
    [
        ("auth_PLAIN", "PLAIN"),
        ("auth_CRAM__MD5", "CRAM-MD5"),
        ("auth_SCRAM__SHA__256__PLUS", "SCRAM-SHA-256-PLUS"),
        ("auth_X_Y", "X_Y"),
        ("auth_X2", "X2"),
        ("auth_" + "X" * 20, "X" * 20),
        ("auth_" + "X" * 21, None),
        ("auth_", None),
        ("auth_lower", None),
        ("auth_Mixed", None),
        ("auth_methods", None),
        ("smtp_AUTH", None),
        ("AUTH_PLAIN", None),
    ],
)
def test_the_name_of_a_method_is_that_of_its_mechanism(method_name: str, name: str | None) -> None:
    assert mechanism_name(method_name, function) == name


def test_what_cannot_be_called_is_no_mechanism() -> None:
    assert mechanism_name("auth_PLAIN", "a string") is None


@pytest.mark.parametrize("name", ["with-dash", "WITH-DASH", "X_1"])
def test_a_decorator_gives_a_method_another_name(name: str) -> None:
    @auth_mechanism(name)
    def auth_something(*args: Any) -> None:
        """A mechanism."""

    assert mechanism_name("auth_something", auth_something) == name.upper()
    assert mechanism_name("something", auth_something) is None


@pytest.mark.parametrize("name", ["", "with space", "with.dot", "ÄÖ", "X" * 21, "A\r\nB"])
def test_a_decorator_takes_no_name_that_is_none(name: str) -> None:
    with pytest.raises(ValueError, match="Invalid AUTH mechanism name"):
        auth_mechanism(name)


def test_a_result_does_not_show_what_it_holds() -> None:
    result = AuthResult(success=True, auth_data=LoginPassword(b"ann", b"secret"))
    assert "secret" not in repr(result)
    assert (result.message, result.handled) == (None, False)
    with pytest.raises(TypeError):
        AuthResult(True)  # type: ignore[call-arg]


def test_credentials_do_not_show_the_password() -> None:
    credentials = LoginPassword(b"ann\xff", b"secret")
    for text in (repr(credentials), str(credentials), f"{credentials}", f"{credentials!r}", f"{[credentials]}"):
        assert "secret" not in text
        assert "ann" in text


def test_a_file_of_users_answers_for_passwords_and_keys(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text(password_line("ann", "secret", iterations=4096) + "\n")
    authenticator = FileAuthenticator(path)
    assert find_answers(authenticator).keys() == {sasl.CheckPassword, sasl.FindKeys}
    assert authenticator.scram_iterations == 4096
    for password, is_right in (("secret", True), ("wrong", False)):
        question = sasl.CheckPassword(LoginPassword(b"ann", password.encode()))
        assert authenticator.check_password(question, None) is is_right
    assert authenticator.find_keys(sasl.FindKeys("ann"), None) is not None
    assert authenticator.find_keys(sasl.FindKeys("bob"), None) is None


def test_a_file_of_users_that_is_not_there_is_the_callers_fault(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="users"):
        FileAuthenticator(tmp_path / "users")
