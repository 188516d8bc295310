from __future__ import annotations

import time
from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.mime.parameters import read_value


@pytest.mark.parametrize(
    ("value", "text", "parameters"),
    [
        ("text/plain", "text/plain", {}),
        ("Text/HTML; Charset=UTF-8", "text/html", {"charset": "UTF-8"}),
        ('multipart/mixed;boundary="a;b=c \\"d\\""', "multipart/mixed", {"boundary": 'a;b=c "d"'}),
        ("multipart/mixed; boundary=----=_1; x", "multipart/mixed", {"boundary": "----=_1"}),
        ("text/plain (with a comment; and more); charset=(which?) utf-8", "text/plain", {"charset": "utf-8"}),
        ("a/b ; name = x y.pdf ;; size=1", "a/b", {"name": "x y.pdf", "size": "1"}),
        ('a/b; name="no end', "a/b", {"name": "no end"}),
        ('a/b; name="x"y; z=1', "a/b", {"name": "x", "z": "1"}),
        ("a/b; name=one; name=two", "a/b", {"name": "one"}),
        ('a/b; name="(no comment)"', "a/b", {"name": "(no comment)"}),
        (
            "attachment; filename*=utf-8''na%C3%AFve%20x.pdf; filename=naive.pdf",
            "attachment",
            {"filename": "naïve x.pdf"},
        ),
        ("attachment; filename*=iso-8859-1'de'%FC", "attachment", {"filename": "ü"}),
        ("a/b; name*0*=utf-8''%C3; name*1*=%BC; name*2=\"%41\"", "a/b", {"name": "ü%41"}),
        ('a/b; name*1=" and two"; name*0="one"', "a/b", {"name": "one and two"}),
        ("a/b; name*=%41", "a/b", {"name": "A"}),
        ("a/b; name*=no-such''%41", "a/b", {"name": "A"}),
        ("", "", {}),
        (";;;", "", {}),
    ],
)
def test_a_value_is_read_with_its_parameters(value: str, text: str, parameters: dict[str, str]) -> None:
    found = read_value(value)

    assert found.text == text
    names = {name.partition("*")[0] for name in found.written}
    assert {name: found.get(name) for name in names} == parameters


def test_a_parameter_that_is_not_there_is_none() -> None:
    assert read_value("text/plain; charset=utf-8").get("name") is None


def test_a_parameter_as_it_is_written_is_none_beside_an_encoded_one() -> None:
    found = read_value("a/b; name=x; filename=y; filename*=utf-8''z")

    assert (found.plain("name"), found.plain("filename"), found.plain("size")) == ("x", None, None)


@given(st.text(max_size=100))
def test_a_file_name_is_read_as_the_standard_library_writes_it(name: str) -> None:
    name = name.encode("utf-8", "replace").decode()
    message = Message()
    message.add_header("Content-Disposition", "attachment", filename=("utf-8", "", name))

    assert read_value(message["Content-Disposition"]).get("filename") == name


@given(
    st.text(max_size=200)
    | st.lists(st.sampled_from(['"', ";", "a", "*0*", "=", "'", "%", "(", ")", "\\", " "])).map("".join)
)
def test_any_text_can_be_read(value: str) -> None:
    for name in read_value(value.encode("utf-8", "replace").decode()).written:
        read_value(value.encode("utf-8", "replace").decode()).get(name.partition("*")[0])


@pytest.mark.parametrize(
    "value",
    [
        'a/b; c="' + ";" * 10**6,
        "a/b" + "; c=d" * 10**5,
        "a/b" + ";" * 10**6,
        "a/b; c=" + "(" * 10**6,
        "a/b;" + '"\\' * 10**5,
    ],
)
def test_a_value_made_to_hurt_takes_no_time(value: str) -> None:
    began = time.process_time()
    read_value(value)

    assert time.process_time() - began < 1
