"""The inbox page in headless Chromium: what a developer does with it, and what a hostile mail cannot do."""

from __future__ import annotations

import http.server
import json
import smtplib
import threading
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from ehlo.inbox.records import Arrival
from ehlo.inbox.store import Store
from ehlo.report.dns import Zone
from tests.e2e.page import CHROMIUM, PATIENCE, Served, mail, png, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MANY = 10_000
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.skip(f"{CHROMIUM} is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def served() -> Iterator[Served]:
    with serving() as inbox:
        yield inbox


class Complaints(list[str]):
    """What browsers had to say.  ``expected``: parts of lines that a test is about."""

    def __init__(self) -> None:
        super().__init__()
        self.expected: list[str] = []

    def unexpected(self) -> list[str]:
        return [line for line in self if not any(part in line for part in self.expected)]


@pytest.fixture
def complaints() -> Complaints:
    return Complaints()


@pytest.fixture
def open_page(browser: Browser, served: Served, complaints: Complaints) -> Iterator[Callable[..., Page]]:
    """Opens the page, each time in a browser of its own.  An error in one's console fails the test: scripts that
    failed, and whatever the content security policy had to keep out.
    """
    contexts = []

    def open_it(fragment: str = "#/", *, url: str = served.url, viewport: dict[str, int] | None = None) -> Page:
        context = browser.new_context(viewport=viewport or {"width": 1280, "height": 800}, locale="en-GB")  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE * 1000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda line: complaints.append(line.text) if line.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url + fragment)
        expect(page.locator("#listening .live")).to_have_text("Live")
        return page

    expect.set_options(timeout=PATIENCE * 1000)
    yield open_it
    for context in contexts:
        context.close()
    assert not complaints.unexpected()


def row(page: Page, subject: str) -> Locator:
    """A line of the list."""
    return page.locator("#canvas .row", has_text=subject)


# Mail comes, is read, found and deleted


def test_a_mail_appears_without_a_reload(served: Served, open_page: Callable[..., Page]) -> None:
    page = open_page()
    expect(page.get_by_role("heading", name="Send the first mail")).to_be_visible()
    served.send(mail("Welcome aboard"))
    expect(row(page, "Welcome aboard")).to_be_visible()
    expect(page).to_have_title("(1) ehlo inbox")
    expect(page.get_by_role("heading", name="Send the first mail")).to_be_hidden()


def test_an_arrival_is_said_to_who_does_not_see_it(served: Served, open_page: Callable[..., Page]) -> None:
    page = open_page()
    served.send(mail("Welcome aboard"))
    expect(page.locator("#announcer")).to_have_text("New message from Acme: Welcome aboard")


def test_opening_a_mail_shows_it_and_marks_it_read(served: Served, open_page: Callable[..., Page]) -> None:
    served.send(mail("Welcome aboard", "Hello Priya,\n\nwelcome."))
    page = open_page()
    row(page, "Welcome aboard").locator("a").click()
    expect(page.locator("#panel")).to_contain_text("Hello Priya,")
    expect(page).to_have_title("Welcome aboard")
    expect(page.locator("#canvas .row[data-unread]")).to_have_count(0)
    page.reload()
    expect(page.locator("#panel")).to_contain_text("Hello Priya,")
    expect(page).to_have_title("Welcome aboard")


def test_a_mark_outlasts_what_the_server_found_in_the_message_before_it(
    served: Served, open_page: Callable[..., Page]
) -> None:
    served.send(mail("Welcome aboard", "Hello Priya,\n\nwelcome."))
    page = open_page()
    expect(row(page, "Welcome aboard")).to_be_visible()
    page.evaluate("""async () => {
        const { HANDLERS } = await import("/static/live.js");
        const { state } = await import("/static/state.js");
        HANDLERS.changed({ message: state.listing.items[0] });
        document.querySelector("#canvas .row a").click();
        await new Promise((done) => setTimeout(done, 500)); // what was found is drawn by then
    }""")
    expect(page.locator("#panel")).to_contain_text("Hello Priya,")
    expect(page.locator("#canvas .row[data-unread]")).to_have_count(0)


def test_a_code_and_a_link_are_in_front(served: Served, open_page: Callable[..., Page]) -> None:
    text = "Your sign-in code is 482913\n\nOr use https://acme.test/login?token=abc"
    served.send(mail("Sign in", text))
    page = open_page("#/message/1")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy the code 482913").click()
    expect(page.get_by_role("status").filter(has_text="Copied 482913")).to_be_visible()
    assert page.evaluate("() => navigator.clipboard.readText()") == "482913"
    link = page.locator(".find a", has_text="acme.test/login")
    expect(link).to_have_attribute("href", "https://acme.test/login?token=abc")
    expect(link).to_have_attribute("rel", "noopener noreferrer")


def test_every_tab_shows_its_part_of_a_message(served: Served, open_page: Callable[..., Page]) -> None:
    picture = png(8, 8, lambda x, y: (255 * x, 255 * y, 90))
    html = '<h1>Novelties</h1><img src="cid:hero" alt="A hill">'
    files = [("invoice.pdf", b"%PDF-1.4", "application/pdf")]
    served.send(
        mail("Novelties", "As text.", html=html, pictures=[("hero", picture)], files=files, X_Mailer="acme 4.2")
    )
    page = open_page("#/message/1")
    frame = page.frame_locator("#panel iframe")
    expect(frame.get_by_role("heading", name="Novelties")).to_be_visible()
    expect(frame.get_by_alt_text("A hill")).to_have_js_property("naturalWidth", 8)
    for tab, wanted in {
        "Text": "As text.",
        "Headers": "acme 4.2",
        "Parts": "invoice.pdf",
        "Raw": "Content-Disposition: attachment",
        "Session": "MAIL FROM:<noreply@acme.test>",
    }.items():
        page.get_by_role("tab", name=tab).click()
        expect(page.locator("#panel")).to_contain_text(wanted, ignore_case=True)
        expect(page).to_have_url(f"{served.url}#/message/1/{tab.lower()}")


def test_what_is_wrong_is_counted_on_the_tab_and_listed_in_it(served: Served, open_page: Callable[..., Page]) -> None:
    with served.client() as smtp:
        smtp.sendmail(
            "anna@acme.test", ["bob@acme.test"], "From: anna@acme.test\r\nSubject: <b>Lunch</b>\r\n\r\nAt one?\r\n"
        )
    page = open_page("#/message/1")
    tab = page.get_by_role("tab", name="Check")
    expect(tab).to_contain_text("errors and warnings")
    tab.click()
    expect(page).to_have_url(f"{served.url}#/message/1/check")
    finding = page.locator(".finding", has_text="no-message-id")
    expect(finding).to_have_attribute("data-severity", "warning")
    expect(finding).to_contain_text("RFC 5322")
    counted = page.locator('.finding[data-severity="error"], .finding[data-severity="warning"]').count()
    expect(tab.locator(".count")).to_have_text(f"{counted} errors and warnings")
    expect(page.get_by_label("Sent from address")).to_have_count(0)


def test_who_vouches_for_a_message_is_said_when_it_is_asked(
    served: Served, open_page: Callable[..., Page], complaints: Complaints
) -> None:
    served.server.resolver = Zone('acme.test TXT "v=spf1 ip4:192.0.2.1 -all"')
    complaints.expected.append("422")
    with served.client() as smtp:
        smtp.sendmail("anna@acme.test", ["bob@acme.test"], "From: anna@acme.test\r\n\r\nAt one?\r\n")
    page = open_page("#/message/1/check")
    address, button = page.get_by_label("Sent from address"), page.get_by_role("button", name="Check DKIM")
    for given, wanted in (("192.0.2.1", "pass"), ("192.0.2.9", "fail")):
        address.fill(given)
        button.click()
        expect(page.locator(".results dt", has_text="SPF of acme.test").locator("strong")).to_have_text(wanted)
    expect(page.locator(".finding", has_text="spf-fail")).to_be_visible()
    address.fill("nobody")
    button.click()
    expect(page.locator(".question-problem")).to_contain_text("an IP address expected")


def test_an_attachment_can_be_downloaded(served: Served, open_page: Callable[..., Page]) -> None:
    served.send(mail("Invoice", files=[("invoice 1.pdf", b"%PDF-1.4 of bytes", "application/pdf")]))
    page = open_page("#/message/1")
    with page.expect_download() as download:
        page.locator(".find a", has_text="invoice 1.pdf").click()
    assert download.value.path().read_bytes() == b"%PDF-1.4 of bytes"
    assert download.value.suggested_filename == "invoice 1.pdf"


def test_a_search_finds(served: Served, open_page: Callable[..., Page]) -> None:
    for subject in ("Invoice 41", "Invoice 42", "Welcome"):
        served.send(mail(subject))
    page = open_page()
    expect(page.locator("#canvas .row")).to_have_count(3)
    page.get_by_role("searchbox").fill("subject:invoice")
    expect(page.locator("#canvas .row")).to_have_count(2)
    expect(page.locator("#list-title")).to_contain_text("Results")
    page.get_by_role("button", name="Clear the search").first.click()
    expect(page.locator("#canvas .row")).to_have_count(3)


def test_a_search_that_is_open_takes_what_arrives_and_matches(served: Served, open_page: Callable[..., Page]) -> None:
    served.send(mail("Invoice 41"))
    page = open_page("#/search/subject%3Ainvoice")
    expect(page.locator("#canvas .row")).to_have_count(1)
    served.send(mail("Welcome"))
    served.send(mail("Invoice 42"))
    expect(row(page, "Invoice 42")).to_be_visible()
    expect(page.locator("#canvas .row")).to_have_count(2)


def test_a_search_that_makes_no_sense_says_why(
    served: Served, open_page: Callable[..., Page], complaints: Complaints
) -> None:
    complaints.expected.append("400 (Bad Request)")
    page = open_page()
    page.get_by_role("searchbox").fill("colour:red")
    expect(page.locator("#search-error")).to_contain_text("colour:")
    expect(page.get_by_role("searchbox")).to_have_attribute("aria-invalid", "true")
    page.get_by_role("searchbox").fill("red")
    expect(page.locator("#search-error")).to_be_hidden()


def test_a_mail_can_be_deleted(served: Served, open_page: Callable[..., Page]) -> None:
    served.send(mail("Goodbye"))
    served.send(mail("Stays"))
    page, other = open_page(), open_page()
    row(page, "Goodbye").locator("a").click()
    page.get_by_role("button", name="Delete (#)").click()
    expect(row(page, "Goodbye")).to_have_count(0)
    expect(row(page, "Stays")).to_be_visible()
    expect(row(other, "Goodbye")).to_have_count(0)
    assert _api(served, "messages")["total"] == 1


def test_what_is_deleted_elsewhere_is_neither_counted_nor_selected(
    served: Served, open_page: Callable[..., Page]
) -> None:
    for name in ("first", "second", "third"):
        served.send(mail(f"The {name}"))
    page = open_page()
    row(page, "The second").get_by_role("checkbox").check()
    row(page, "The third").get_by_role("checkbox").check()
    expect(page.locator("#list-title")).to_have_text("2 selected")
    _delete(served, 3)
    expect(page.locator("#list-title")).to_have_text("1 selected")
    _delete(served, 2)
    expect(page.locator("#list-title")).to_contain_text("1 unread")


def test_older_mail_that_moves_up_is_not_said_to_be_new(served: Served, open_page: Callable[..., Page]) -> None:
    send_burst(served)
    page = open_page()
    expect(row(page, f"Burst number {BURST - 1}.")).to_be_visible()
    for number in (BURST, BURST - 1, BURST - 2):
        _delete(served, number)
        expect(row(page, f"Burst number {number - 1}.")).to_have_count(0)
    served.send(mail("The next"))
    expect(page.locator("#announcer")).to_have_text("New message from Acme: The next")


def test_several_can_be_selected_with_shift_tagged_and_deleted(served: Served, open_page: Callable[..., Page]) -> None:
    for number in range(5):
        served.send(mail(f"Mail {number}"))
    page = open_page()
    row(page, "Mail 3").hover()
    row(page, "Mail 3").get_by_role("checkbox").click()
    row(page, "Mail 1").get_by_role("checkbox").click(modifiers=["Shift"])
    expect(page.locator("#list-title")).to_have_text("3 selected")
    page.locator("#toolbar").get_by_role("button", name="Tag").click()
    page.get_by_label("New tag").fill("spring")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#canvas .tag", has_text="spring")).to_have_count(3)
    page.locator("#toolbar").get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator("#canvas .row")).to_have_count(2)
    assert [message["subject"] for message in _api(served, "messages")["messages"]] == ["Mail 4", "Mail 0"]


def test_the_keyboard_does_it_all(served: Served, open_page: Callable[..., Page]) -> None:
    for number in range(4):
        served.send(mail(f"Mail {number}"))
    page = open_page()
    expect(page.locator("#canvas .row")).to_have_count(4)
    press = page.keyboard.press
    press("j")
    press("j")
    expect(row(page, "Mail 2").locator("a")).to_be_focused()
    press("Enter")
    expect(page.locator("#subject")).to_have_text("Mail 2")
    press("j")
    expect(page.locator("#subject")).to_have_text("Mail 1")
    press("3")
    expect(page.get_by_role("tab", name="Headers")).to_have_attribute("aria-selected", "true")
    press("k")
    expect(page.locator("#subject")).to_have_text("Mail 2")
    expect(page.get_by_role("tab", name="Headers")).to_have_attribute("aria-selected", "true")
    press("#")
    expect(page.locator("#canvas .row")).to_have_count(3)
    expect(page.locator("#subject")).to_have_text("Mail 1")
    press("u")
    expect(row(page, "Mail 1").locator("a")).to_be_focused()
    press("x")
    expect(page.locator("#list-title")).to_have_text("1 selected")
    press("Escape")
    expect(page.locator("#list-title")).to_contain_text("Messages")
    press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("j")  # a letter, here
    expect(page.get_by_role("searchbox")).to_have_value("j")
    press("Escape")
    press("Escape")
    press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()


def test_a_file_that_is_dropped_becomes_a_message(served: Served, open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.evaluate(
        """() => {
            const transfer = new DataTransfer();
            const text = "Subject: Dropped\\r\\n\\r\\nIt fell.";
            transfer.items.add(new File([text], "mail.eml", { type: "message/rfc822" }));
            for (const kind of ["dragenter", "dragover", "drop"])
                window.dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
        }"""
    )
    expect(row(page, "Dropped")).to_be_visible()


def test_a_message_is_released_to_a_server_that_was_allowed(browser: Browser) -> None:
    with serving() as target, serving(release=[f"127.0.0.1:{target.port}"]) as inbox:
        inbox.send(mail("Let it go"))
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{inbox.url}#/message/1")
        page.get_by_role("button", name="Release").click()
        page.get_by_role("dialog").get_by_label("Recipients").fill("real@example.com")
        page.get_by_role("dialog").get_by_role("button", name="Release").click()
        expect(page.get_by_role("status").filter(has_text="Released")).to_be_visible()
        [released] = _api(target, "messages")["messages"]
        assert (released["subject"], released["rcpt_tos"]) == ("Let it go", ["real@example.com"])
        context.close()


# Sessions


def test_a_refused_session_has_a_view_of_its_own(served: Served, open_page: Callable[..., Page]) -> None:
    page = open_page("#/sessions/refused")
    expect(page.get_by_role("heading", name="Nothing was refused")).to_be_visible()
    with served.client(name="legacy.internal") as smtp:
        assert smtp.docmd("MAIL FROM:<noreply@acme test>")[0] == 553
    expect(row(page, "legacy.internal")).to_be_visible()
    row(page, "legacy.internal").locator("a").click()
    expect(page.locator(".line.error")).to_contain_text("553")
    expect(page.get_by_role("link", name="Refused and broken")).to_contain_text("1")


def test_a_password_is_not_in_a_session(served: Served, open_page: Callable[..., Page]) -> None:
    with served.client(login="team-a") as smtp:
        smtp.send_message(mail("Hello"))
    page = open_page("#/message/1/session")
    expect(page.locator(".transcript")).to_contain_text("AUTH")
    assert "any password" not in page.content()


# Inboxes


def test_two_inboxes_do_not_see_each_other(served: Served, open_page: Callable[..., Page]) -> None:
    one, other = (_post(served, "inboxes", {"name": name}) for name in ("team-a", "team-b"))
    for made in (one, other):
        with smtplib.SMTP("127.0.0.1", served.port) as smtp:
            smtp.login(made["smtp"]["login"], made["smtp"]["password"])
            smtp.send_message(mail(f"For {made['name']}"))
    page = open_page("#/inbox/team-a")
    expect(row(page, "For team-a")).to_be_visible()
    expect(row(page, "For team-b")).to_have_count(0)
    page.get_by_role("button", name="Inbox All inboxes").or_(page.locator("#switcher")).first.click()
    page.get_by_role("menuitemradio", name="team-b").click()
    expect(row(page, "For team-b")).to_be_visible()
    expect(row(page, "For team-a")).to_have_count(0)


def test_the_link_of_an_inbox_shows_that_inbox_alone(served: Served, browser: Browser) -> None:
    made = _post(served, "inboxes", {"name": "team-a"})
    served.send(mail("For all"))
    with smtplib.SMTP("127.0.0.1", served.port) as smtp:
        smtp.login(made["smtp"]["login"], made["smtp"]["password"])
        smtp.send_message(mail("For team-a"))
    context = browser.new_context()
    page = context.new_page()
    page.goto(made["link"])
    expect(row(page, "For team-a")).to_be_visible()
    expect(row(page, "For all")).to_have_count(0)
    expect(page.locator("#switcher-name")).to_have_text("team-a")
    served.send(mail("For all again"))
    with smtplib.SMTP("127.0.0.1", served.port) as smtp:
        smtp.login(made["smtp"]["login"], made["smtp"]["password"])
        smtp.send_message(mail("For team-a again"))
    expect(row(page, "For team-a again")).to_be_visible()
    expect(page.locator("#canvas .row")).to_have_count(2)
    context.close()


def test_a_page_without_the_token_asks_for_it(browser: Browser) -> None:
    with serving(token="open-sesame") as inbox:
        inbox.send(mail("Secret"))
        context = browser.new_context()
        page = context.new_page()
        page.goto(inbox.url)
        page.get_by_label("Token").fill("open-sesame")
        page.get_by_role("button", name="Open").click()
        expect(row(page, "Secret")).to_be_visible()
        assert "sesame" not in page.url
        context.close()


# Hostile mail


class Canary(NamedTuple):
    """A server that a hostile mail would like to have something fetched from."""

    url: str
    requests: list[str]


@pytest.fixture
def canary() -> Iterator[Canary]:
    requests: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()

        do_POST = do_GET  # noqa: N815 - the library calls it

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield Canary(f"http://127.0.0.1:{server.server_port}", requests)
        server.shutdown()
        thread.join()


HOSTILE = """<html><head><meta http-equiv="refresh" content="0; url=CANARY/refresh"><base href="CANARY/base/">
<link rel="stylesheet" href="CANARY/sheet.css"><link rel="prefetch" href="CANARY/prefetch">
<link rel="preconnect" href="CANARY">
<style>@import url(CANARY/import.css); body { background: url("CANARY/background") }
@font-face { font-family: x; src: url(CANARY/font) } p { font-family: x; list-style: url(CANARY/list) } </style>
<script>top.PWNED = 1; parent.postMessage("PWNED", "*"); fetch("CANARY/fetch")</script>
<script src="CANARY/script.js"></script></head>
<body onload="top.PWNED = 1" background="CANARY/body"><p style="background: url(CANARY/inline)">visible words</p>
<img src="x" onerror="top.PWNED = 1"><img src="CANARY/pixel.gif"><img srcset="CANARY/srcset 2x" src="CANARY/src">
<svg onload="top.PWNED = 1"><script>top.PWNED = 1</script><image href="CANARY/svg" /><use href="CANARY/use#x" /></svg>
<math><mtext></p><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=top.PWNED=1&gt;"></math>
<iframe src="CANARY/iframe"></iframe><iframe srcdoc="<script>top.PWNED = 1</script>"></iframe>
<object data="CANARY/object"></object>
<embed src="CANARY/embed"><video src="CANARY/video" poster="CANARY/poster" autoplay></video>
<audio src="CANARY/audio" autoplay></audio>
<form action="CANARY/form" id="f"><input name="a" autofocus onfocus="top.PWNED = 1"><button>Press</button></form>
<a href="javascript:top.PWNED=1" id="js">script</a>
<a href="CANARY/link" ping="CANARY/ping" id="away" target="_top">link</a>
<details open ontoggle="top.PWNED = 1"><summary>x</summary></details>
<noscript><img src="CANARY/noscript"></noscript></body></html>"""


def test_hostile_html_does_nothing(served: Served, open_page: Callable[..., Page], canary: Canary) -> None:
    served.send(mail("Hostile", "As text.", html=HOSTILE.replace("CANARY", canary.url)))
    page = open_page()
    page.evaluate("() => addEventListener('message', () => { window.PWNED = 1 })")
    row(page, "Hostile").locator("a").click()
    frame = page.frame_locator("#panel iframe")
    expect(frame.get_by_text("visible words")).to_be_visible()
    expect(page.locator(".remote")).to_contain_text("Remote content is blocked")
    page.wait_for_load_state("networkidle")
    for tab in ("Text", "Headers", "Parts", "Raw", "Session", "HTML"):
        page.get_by_role("tab", name=tab).click()
        expect(page.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")
    expect(frame.get_by_text("visible words")).to_be_visible()
    assert page.evaluate("() => window.PWNED") is None
    assert page.url.startswith(served.url)
    assert canary.requests == []
    for name in ("script", "iframe", "form", "input", "object", "embed", "svg", "meta[http-equiv=refresh]", "base"):
        assert frame.locator(name).count() == 0, name


def test_the_frame_has_neither_scripts_nor_an_origin(served: Served, open_page: Callable[..., Page]) -> None:
    served.send(mail("Framed", html="<p>words</p>"))
    page = open_page("#/message/1")
    expect(page.frame_locator("#panel iframe").get_by_text("words")).to_be_visible()
    sandbox = (page.locator("#panel iframe").get_attribute("sandbox") or "").split()
    assert "allow-scripts" not in sandbox
    assert "allow-same-origin" not in sandbox
    assert "allow-top-navigation" not in sandbox
    assert page.evaluate("() => document.querySelector('#panel iframe').contentDocument") is None


def test_a_link_of_a_mail_opens_a_window_that_knows_nothing_of_the_page(
    served: Served, open_page: Callable[..., Page], canary: Canary
) -> None:
    served.send(mail("Link", html=f'<a href="{canary.url}/link">away</a>'))
    page = open_page("#/message/1")
    with page.context.expect_page() as opened:
        page.frame_locator("#panel iframe").get_by_text("away").click()
    assert opened.value.evaluate("() => window.opener") is None
    assert opened.value.evaluate("() => document.referrer") == ""
    assert page.url == f"{served.url}#/message/1"


HOSTILE_TEXTS = [
    "<script>top.PWNED = 1</script>",
    '"><img src=x onerror="top.PWNED = 1">',
    "javascript:top.PWNED=1",
    "\u202etxt.exe \u2066isolated",
    "W" * 900,
    "\N{WAVING HAND SIGN}" * 200,
]


@pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=range(len(HOSTILE_TEXTS)))
def test_a_hostile_text_is_text_wherever_it_stands(served: Served, open_page: Callable[..., Page], text: str) -> None:
    name = text.replace('"', "").replace("\\", "")
    message = mail(
        text, f"{text}\n{text}", sender=f'"{name}" <a@example.com>', files=[(f"{name[:120]}.png", b"x", "image/png")]
    )
    served.send(message)
    page = open_page("#/message/1")
    expect(page.locator("#subject")).to_be_visible()
    for tab in ("Headers", "Parts", "Raw", "Session", "Text"):
        page.get_by_role("tab", name=tab).click()
        expect(page.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")
    page.get_by_role("button", name="Details").click()
    assert page.evaluate("() => window.PWNED") is None
    # Nothing is wider than the window, however long a word is.
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(
        "() => { const m = document.querySelector('.message'); return m.scrollWidth <= m.clientWidth; }"
    )


def test_what_turns_letters_round_shows_in_the_list_and_in_the_title(
    served: Served, open_page: Callable[..., Page]
) -> None:
    served.send(mail("Bill \u202efdp.exe", "Hello", sender='"Ann \u2066x" <a@example.com>'))
    page = open_page("#/message/1")
    for place in (page.locator("#subject"), page.locator("#canvas .row-subject")):
        expect(place).to_have_text("Bill \ufffdfdp.exe")
    expect(page).to_have_title("Bill \ufffdfdp.exe")
    expect(page.locator("#canvas .row")).to_contain_text("Ann \ufffdx")


# Many, and long ones


def test_a_message_opened_by_its_address_is_in_view_in_the_list(served: Served, open_page: Callable[..., Page]) -> None:
    for number in range(40):
        served.send(mail(f"Mail number {number}."))
    page = open_page("#/message/3")
    expect(row(page, "Mail number 2.")).to_be_in_viewport()
    expect(row(page, "Mail number 39.")).to_have_count(0)


def test_ten_thousand_messages_scroll(served: Served, open_page: Callable[..., Page]) -> None:
    futures = [
        served.server.store.add(
            Arrival(
                f"From: a@example.com\r\nSubject: Mail number {n}\r\n\r\nBody {n}\r\n".encode(),
                "a@example.com",
                ("b@example.com",),
            )
        )
        for n in range(MANY)
    ]
    for future in futures:
        future.result(PATIENCE)
    page = open_page()
    expect(page.locator("#list-title")).to_contain_text("10,000")
    expect(row(page, f"Mail number {MANY - 1}")).to_be_visible()
    page.evaluate("() => { document.getElementById('rows').scrollTop = 1e9; }")
    expect(row(page, "Mail number 0").filter(has_text="Body 0")).to_be_visible()
    # However many there are, few are in the document.
    assert page.locator("#canvas .row").count() < 60
    served.send(mail("Another one"))
    expect(page.locator("#pill")).to_have_text("1 new")
    expect(row(page, "Mail number 0").filter(has_text="Body 0")).to_be_visible()
    page.locator("#pill").click()
    expect(row(page, "Another one")).to_be_visible()


# Much comes at once


BURST = 300


def send_burst(served: Served) -> None:
    with served.client() as smtp:
        for number in range(BURST):
            smtp.sendmail("a@example.com", ["b@example.com"], f"Subject: Burst number {number}.\r\n\r\nBody {number}.")


def requests_for_pages(page: Page) -> list[str]:
    """The requests for pages of the list, from now on."""
    found: list[str] = []
    page.on("request", lambda request: found.append(request.url) if "messages?limit=100" in request.url else None)
    return found


def test_a_burst_is_shown_whole_and_fetched_in_few_pieces(served: Served, open_page: Callable[..., Page]) -> None:
    page = open_page()
    served.send(mail("Before it"))
    expect(row(page, "Before it")).to_be_visible()
    requests = requests_for_pages(page)
    send_burst(served)
    expect(page.locator("#list-title")).to_contain_text(f"{BURST + 1} unread")
    expect(row(page, f"Burst number {BURST - 1}.").filter(has_text=f"Body {BURST - 1}.")).to_be_visible()
    assert len(requests) < BURST / 10
    page.evaluate("() => { document.getElementById('rows').scrollTop = 1e9; }")
    expect(row(page, "Before it").filter(has_text="A text.")).to_be_visible()
    expect(row(page, "Burst number 0.").filter(has_text="Body 0.")).to_be_visible()


def test_an_open_message_keeps_its_place_in_a_burst(served: Served, open_page: Callable[..., Page]) -> None:
    served.send(mail("Before it"))
    page = open_page("#/message/1")
    expect(page.locator("#reader")).to_contain_text("1 of 1")
    send_burst(served)
    expect(page.locator("#reader")).to_contain_text(f"{BURST + 1} of {BURST + 1}")


def test_a_tab_that_nobody_sees_fetches_no_list_until_it_is_seen(
    served: Served, open_page: Callable[..., Page]
) -> None:
    page = open_page()
    served.send(mail("Seen"))
    expect(row(page, "Seen")).to_be_visible()
    requests = requests_for_pages(page)
    is_hidden = "(is) => { Object.defineProperty(document, 'hidden', { value: is, configurable: true }); }"
    page.evaluate(is_hidden, True)
    served.send(mail("Not seen yet"))
    expect(page).to_have_title("(2) ehlo inbox")
    assert requests == []
    page.evaluate(is_hidden, False)
    page.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")
    expect(row(page, "Not seen yet")).to_be_visible()


def test_a_megabyte_of_text_is_cut_until_asked_for(served: Served, open_page: Callable[..., Page]) -> None:
    served.send(mail("Long", "A line of text, https://acme.test/path and more of it.\n" * 20_000 + "The end."))
    page = open_page("#/message/1")
    expect(page.locator("#panel")).to_contain_text("A line of text")
    expect(page.locator("#panel")).not_to_contain_text("The end.")
    page.get_by_role("button", name="Show all of it").click()
    expect(page.locator("#panel")).to_contain_text("The end.")


def test_a_hundred_recipients_have_room(served: Served, open_page: Callable[..., Page]) -> None:
    served.send(mail("Everyone"), recipients=[f"person-{n}@example.com" for n in range(100)])
    page = open_page("#/message/1")
    expect(page.locator(".recipients")).to_contain_text("and 99 others")
    page.get_by_role("button", name="Details").click()
    expect(page.locator("#envelope")).to_contain_text("person-99@example.com")


# The rest of the world


def test_the_page_says_when_the_server_is_gone_and_comes_back_by_itself(
    browser: Browser, complaints: Complaints
) -> None:
    context = browser.new_context()
    page = context.new_page()
    with serving() as inbox:
        page.goto(inbox.url)
        expect(page.locator("#listening .live")).to_have_text("Live")
        port = int(inbox.url.rstrip("/").rpartition(":")[2])
    expect(page.locator("#notice")).to_contain_text("cannot be reached")
    with serving(web=("127.0.0.1", port)) as inbox:
        expect(page.locator("#listening .live")).to_have_text("Live")
        inbox.send(mail("After the break"))
        expect(row(page, "After the break")).to_be_visible()
        context.close()


def test_the_numbers_of_another_server_mean_other_messages(browser: Browser) -> None:
    page = browser.new_context().new_page()
    with serving() as inbox:
        inbox.send(mail("The old one"))
        page.goto(f"{inbox.url}#/message/1")
        expect(page.locator("#subject")).to_have_text("The old one")
        row(page, "The old one").get_by_role("checkbox").check()
        port = int(inbox.url.rstrip("/").rpartition(":")[2])
    with serving(web=("127.0.0.1", port)) as inbox:
        inbox.send(mail("The new one"))
        expect(row(page, "The new one")).to_be_visible()
        expect(page.locator("#subject")).to_have_count(0)
        expect(page.locator("#list-title")).to_contain_text("1 unread")
        page.context.close()


def test_a_message_that_is_kept_stays_open_when_its_server_starts_anew(browser: Browser, tmp_path: Path) -> None:
    page = browser.new_context().new_page()
    path = tmp_path / "mail.db"
    with Store(path) as store, serving(store=store) as inbox:
        inbox.send(mail("Kept"))
        page.goto(f"{inbox.url}#/message/1")
        expect(page.locator("#subject")).to_have_text("Kept")
        port = int(inbox.url.rstrip("/").rpartition(":")[2])
    with Store(path) as store, serving(store=store, web=("127.0.0.1", port)) as inbox:
        inbox.send(mail("Another one"))
        expect(row(page, "Another one")).to_be_visible()
        expect(page.locator("#reader")).to_contain_text("2 of 2")
        expect(page.locator("#subject")).to_have_text("Kept")
        page.context.close()


def test_a_server_that_wants_another_token_is_not_said_to_be_gone(browser: Browser) -> None:
    page = browser.new_context().new_page()
    with serving(token="token-of-old") as inbox:
        page.goto(f"{inbox.url}?token=token-of-old")
        expect(page.locator("#listening .live")).to_have_text("Live")
        port = int(inbox.url.rstrip("/").rpartition(":")[2])
    expect(page.locator("#notice")).to_contain_text("cannot be reached")
    with serving(web=("127.0.0.1", port), token="token-of-now"):
        expect(page.get_by_role("heading", name="This inbox needs its token")).to_be_visible()
        page.context.close()


def test_tabs_share_one_stream_and_pass_it_on(served: Served, open_page: Callable[..., Page]) -> None:
    first = open_page()
    second = first.context.new_page()
    streams: list[str] = []
    second.on("request", lambda request: streams.append(request.url) if "/api/v1/events" in request.url else None)
    second.goto(served.url)
    expect(second.locator("#listening .live")).to_have_text("Live")
    served.send(mail("For both"))
    expect(row(first, "For both")).to_be_visible()
    expect(row(second, "For both")).to_be_visible()
    assert streams == []
    first.close()
    served.send(mail("For one"))
    expect(row(second, "For one")).to_be_visible()
    assert len(streams) == 1


def test_a_phone_shows_the_list_and_then_the_message(served: Served, open_page: Callable[..., Page]) -> None:
    served.send(mail("Welcome aboard"))
    page = open_page(viewport=PHONE)
    row(page, "Welcome aboard").locator("a").click()
    expect(page.locator("#subject")).to_be_visible()
    expect(page.locator("#rows")).to_be_hidden()
    page.get_by_role("link", name="Back to the list").click()
    expect(row(page, "Welcome aboard")).to_be_visible()
    expect(page.locator("#subject")).to_have_count(0)
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("link", name="Sessions").click()
    expect(page.locator("#list-title")).to_contain_text("Sessions")
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


def test_a_theme_that_was_chosen_stays(served: Served, open_page: Callable[..., Page]) -> None:
    page = open_page()
    light = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Dark theme").click()
    dark = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert light != dark
    page.reload()
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == dark


def test_nothing_comes_from_elsewhere(served: Served, browser: Browser) -> None:
    served.send(mail("Hello", html="<p>words</p>"))
    context = browser.new_context()
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{served.url}#/message/1")
    expect(page.frame_locator("#panel iframe").get_by_text("words")).to_be_visible()
    assert len(asked) > 20
    assert all(url.startswith(served.url) for url in asked)
    context.close()


def _api(served: Served, path: str) -> Any:
    with urllib.request.urlopen(f"{served.url}api/v1/{path}") as answer:
        return json.load(answer)


def _delete(served: Served, id_: int) -> None:
    """As somebody else does, not the page."""
    request = urllib.request.Request(f"{served.url}api/v1/messages/{id_}", method="DELETE")
    urllib.request.urlopen(request).close()


def _post(served: Served, path: str, body: object) -> Any:
    request = urllib.request.Request(
        f"{served.url}api/v1/{path}", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)
