from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from ehlo import credentials
from ehlo.credentials import PasswordFile, password_line
from ehlo.protocol.credentials import ITERATIONS_DEFAULT, ScramKeys, format_scram_keys, verify_password

FRED = password_line("fred", "pencil", iterations=4096)
ANNA = password_line("anna@example.com", "süß", iterations=4096)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    path.write_text(f"# staff\n\n{FRED}\n{ANNA}\n", encoding="utf-8")
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read, in order."""
    reads: list[Path] = []
    read = credentials._read

    def counting(path: Path) -> object:
        reads.append(path)
        return read(path)

    monkeypatch.setattr(credentials, "_read", counting)
    return reads


def replace(path: Path, text: str) -> None:
    """Put a new file in the place of the old one, as an editor or a script should."""
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def test_users_are_found_by_name(path: Path) -> None:
    users = PasswordFile(path)
    keys = users.find_keys("fred")
    assert keys is not None
    assert f"fred:{format_scram_keys(keys)}" == FRED
    assert users.find_keys("anna@example.com") is not None


@pytest.mark.parametrize("name", ["", "nobody", "Fred", "fred\n", "\ufffd", "# staff"])
def test_others_are_not(path: Path, name: str) -> None:
    assert PasswordFile(path).find_keys(name) is None


def test_names_are_compared_as_saslprep_leaves_them(path: Path) -> None:
    replace(path, password_line("ju\u0308rgen", "pencil", iterations=4096))
    assert PasswordFile(path).find_keys("j\u00adürgen") is not None


def test_passwords_are_checked(path: Path) -> None:
    users = PasswordFile(path)
    assert users.check_password("fred", "pencil")
    assert users.check_password("anna@example.com", "su\u0308ß")
    assert not users.check_password("fred", "süß")
    assert not users.check_password("nobody", "pencil")


def test_an_unknown_user_costs_as_much_as_a_known_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    costs: list[int] = []

    def counting(keys: ScramKeys, password: str) -> bool:
        costs.append(keys.iterations)
        return verify_password(keys, password)

    monkeypatch.setattr(credentials, "verify_password", counting)
    users = PasswordFile(path)
    users.check_password("fred", "wrong")
    users.check_password("nobody", "wrong")
    assert costs == [4096, 4096]


def test_nobody_gets_in_by_the_keys_that_stand_in_for_an_unknown_user(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "verify_password", lambda _keys, _password: True)
    assert not PasswordFile(path).check_password("nobody", "pencil")


def test_the_iterations_are_those_that_most_users_have(path: Path) -> None:
    users = PasswordFile(path)
    assert users.iterations == 4096
    replace(path, "\n".join([FRED, *(password_line(name, "pencil", iterations=5000) for name in ("a", "b"))]))
    assert users.iterations == 5000
    replace(path, "")
    assert users.iterations == ITERATIONS_DEFAULT


def test_a_change_is_seen_at_the_next_lookup(path: Path) -> None:
    users = PasswordFile(path)
    replace(path, password_line("fred", "eraser", iterations=4096))
    assert not users.check_password("fred", "pencil")
    assert users.check_password("fred", "eraser")
    assert users.find_keys("anna@example.com") is None


def test_a_change_in_place_is_seen_too(path: Path) -> None:
    users = PasswordFile(path)
    path.write_text(FRED, encoding="utf-8")
    assert users.find_keys("anna@example.com") is None


def test_a_touch_is_enough(path: Path, reads: list[Path]) -> None:
    users = PasswordFile(path)
    reads.clear()
    users.find_keys("fred")
    assert reads == []
    os.utime(path, ns=(1, 1))
    users.find_keys("fred")
    users.find_keys("fred")
    assert reads == [path]


def test_a_file_that_turns_bad_is_logged_once_and_changes_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    users = PasswordFile(path)
    replace(path, f"{FRED}\nanna:secret\n")
    assert users.check_password("anna@example.com", "süß")
    assert users.check_password("anna@example.com", "süß")
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert f"{path}:2: " in record.message
    assert "secret" not in record.message


def test_a_file_that_turns_bad_is_not_read_at_every_lookup(path: Path, reads: list[Path]) -> None:
    users = PasswordFile(path)
    replace(path, "bad")
    reads.clear()
    users.find_keys("fred")
    users.find_keys("fred")
    assert reads == [path]


def test_a_file_that_was_bad_is_taken_over_when_it_is_good_again(path: Path) -> None:
    users = PasswordFile(path)
    replace(path, "bad")
    users.find_keys("fred")
    replace(path, password_line("new", "pencil", iterations=4096))
    assert users.find_keys("new") is not None
    assert users.find_keys("fred") is None


def test_a_file_that_is_gone_is_logged_once_and_changes_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    users = PasswordFile(path)
    path.unlink()
    assert users.find_keys("fred") is not None
    assert users.find_keys("fred") is not None
    assert len(caplog.records) == 1
    path.write_text(ANNA, encoding="utf-8")
    assert users.find_keys("fred") is None


def test_a_file_that_cannot_be_read_for_the_moment_is_tried_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    users = PasswordFile(path)
    replace(path, ANNA)

    def no_descriptor_left(_path: Path) -> bytes:
        raise OSError("Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", no_descriptor_left)
        assert users.find_keys("fred") is not None
    assert users.find_keys("fred") is None


def test_at_the_start_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        PasswordFile(tmp_path / "none")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("fred", "no ':' after the user name"),
        ("fred:pencil", "neither"),
        ("fred:{PLAIN}pencil", "neither"),
        (":" + FRED.partition(":")[2], "no user name"),
        ("fred :" + FRED.partition(":")[2], "no user name"),
        ("\u00ad:" + FRED.partition(":")[2], "no user name"),
        ("fr\x07ed:" + FRED.partition(":")[2], "control character"),
        (FRED + ":", "neither"),
        (FRED + "\n" + FRED.replace("fred", "f\u00adred"), "the same user again"),
    ],
)
def test_a_bad_line_is_an_error_with_its_number_and_without_its_text(path: Path, line: str, reason: str) -> None:
    number = 2 + line.count("\n")
    replace(path, f"# one\n{line}\n")
    with pytest.raises(ValueError, match=reason) as caught:
        PasswordFile(path)
    assert str(caught.value).startswith(f"{path}:{number}: ")
    assert "pencil" not in str(caught.value)


def test_octets_that_are_no_text_are_an_error_without_their_context(path: Path) -> None:
    path.write_bytes(b"\nfred:\xffpencil")
    with pytest.raises(ValueError, match="not UTF-8") as caught:
        PasswordFile(path)
    assert str(caught.value) == f"{path}:2: not UTF-8"


@pytest.mark.parametrize("prefix", ["", "\ufeff"])
def test_other_line_ends_and_a_byte_order_mark_do_no_harm(path: Path, prefix: str) -> None:
    path.write_bytes(f"{prefix}# staff\r\n  {FRED}  \r\n{ANNA}".encode())
    users = PasswordFile(path)
    assert users.find_keys("fred") is not None
    assert users.find_keys("anna@example.com") is not None


def test_a_password_line_never_holds_the_password() -> None:
    assert "pencil" not in FRED
    assert FRED.startswith("fred:{SCRAM-SHA-256}4096,")
    assert "\n" not in FRED


@pytest.mark.parametrize("name", ["", "a:b", "#a", " a", "a ", "a\nb", "\u00ad", "\U0001f600"])
def test_a_name_that_a_line_cannot_say_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"user name|character"):
        password_line(name, "pencil", iterations=4096)


@pytest.mark.parametrize("password", ["", "a\nb"])
def test_a_password_that_cannot_be_used_is_refused(password: str) -> None:
    with pytest.raises(ValueError, match=r"password|character"):
        password_line("fred", password, iterations=4096)


def test_processes_that_share_a_secret_know_the_same_users_that_do_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_fake_secret", credentials.fake_secret())
    credentials.share_fake_secret(b"secret")
    assert credentials.fake_secret() == b"secret"
