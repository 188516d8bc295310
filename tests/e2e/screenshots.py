"""The pictures of docs/inbox.md: ``python -m tests.e2e.screenshots [FOLDER]`` writes them to docs/images.

An inbox gets the mail of an application that does not exist, over some hours that do not pass, and headless Chromium
looks at it.  Needs Chromium; the font Inter makes them look best, and pngquant makes them small.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from playwright.sync_api import sync_playwright

from ehlo.inbox import catcher, transcript
from tests.e2e.page import CHROMIUM, Served, mail, png, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page, ViewportSize

IMAGES: Final = Path(__file__).parents[2] / "docs" / "images"
DESKTOP: Final[ViewportSize] = {"width": 1440, "height": 900}
PHONE: Final[ViewportSize] = {"width": 390, "height": 844}
PORT: Final = 8025
MINUTE: Final = 60.0
HOUR: Final = 60 * MINUTE

PRIYA = "Priya Raman <priya@example.com>"

NEWSLETTER = """<!doctype html><html><head><style>
body { margin: 0; background: #eef1f4; font-family: Helvetica, Arial, sans-serif; color: #1c2733 }
.wrap { max-width: 600px; margin: 0 auto; background: #fff } .pad { padding: 28px 36px }
h1 { font-size: 26px; margin: 0 0 12px } p { line-height: 1.6; margin: 0 0 16px; font-size: 15px }
.button { display: inline-block; background: #0b6b79; color: #fff; text-decoration: none; padding: 12px 22px;
border-radius: 6px; font-weight: bold } td { width: 50%; vertical-align: top; padding-right: 12px }
.foot { color: #6b7785; font-size: 12px }
</style></head><body><div class="wrap"><img src="cid:hero" width="600" alt="" style="display: block; width: 100%">
<div class="pad"><h1>What shipped in November</h1><p>Hello Priya, here is what the team released this month: faster
exports, a calmer dashboard, and a way to invite the whole team at once.</p>
<p><a class="button" href="https://acme.test/changelog/november">Read the changelog</a></p>
<table width="100%"><tr><td><h3>Exports</h3><p>Ten times faster for large workspaces.</p></td>
<td><h3>Invitations</h3><p>Paste a list of addresses; we sort out who is new.</p></td></tr></table>
<img src="https://cdn.acme.test/open.gif?u=41" width="1" height="1" alt="">
<p class="foot">You get this because you signed up at acme.test.
<a href="https://acme.test/unsubscribe?u=41">Unsubscribe</a></p></div></div></body></html>"""

INVOICE = """Dear Priya,

attached is invoice INV-2304 over 249.00 EUR, due on 15 December.

Pay online: https://acme.test/pay/INV-2304

Billing
"""

SIGN_IN = """<!doctype html><body style="font-family: Helvetica, Arial, sans-serif; background: #f6f7f9; padding: 32px">
<div style="max-width: 440px; margin: auto; background: #fff; border: 1px solid #e3e7eb; border-radius: 10px;
padding: 32px"><h2 style="margin: 0 0 12px">Sign in to Acme</h2><p>Your sign-in code is</p>
<p style="font: 700 34px/1 monospace; letter-spacing: 8px; background: #f1f4f6; padding: 18px; text-align: center;
border-radius: 8px">482913</p><p>It is valid for ten minutes. Or
<a href="https://acme.test/login/confirm?token=eyJhbGciOiJIUzI1NiJ9">sign in with this link</a>.</p>
<p style="color: #667">Not you? Ignore this mail.</p></div></body>"""


class Clock:
    """Stands for the module ``time`` in the parts that say when something was: so long ago, as it is told."""

    def __init__(self) -> None:
        self.back = 0.0

    def time(self) -> float:
        return time.time() - self.back

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


class Scene(NamedTuple):
    """A picture: its name, where the page is, and what is done before it is taken (CSS of what is clicked)."""

    name: str
    fragment: str
    is_dark: bool = False
    size: ViewportSize = DESKTOP
    click: str = ""


@contextlib.contextmanager
def shifted() -> Iterator[Clock]:
    """A clock for arrivals and sessions."""
    clock = Clock()
    modules: list[Any] = [catcher, transcript]
    for module in modules:
        module.time = clock
    try:
        yield clock
    finally:
        for module in modules:
            module.time = time


def send_mail(inbox: Served, clock: Clock) -> None:
    """What an application sends in a day, oldest first."""
    hill = png(600, 190, lambda x, y: (20 + 60 * x, 90 + 80 * y, 120 + 70 * x))
    chart = png(320, 200, lambda x, y: (240 - 60 * y, 200 - 90 * x, 160 + 40 * x))
    invoice = b"%PDF-1.7\n" + bytes(n * 7919 % 251 for n in range(48_000))
    plan: list[tuple[float, str | None, list[str], Any]] = [
        (
            52 * HOUR,
            None,
            ["billing"],
            mail(
                "Payment received, thank you",
                "We received 249.00 EUR for INV-2291.",
                sender="Billing <billing@acme.test>",
                to="accounts@example.com",
            ),
        ),
        (
            30 * HOUR,
            "checkout",
            ["orders"],
            mail("Order #10466 confirmed", "Thank you for your order.", sender="Acme Shop <orders@acme.test>"),
        ),
        (
            27 * HOUR,
            None,
            [],
            mail(
                "acme/web | Pipeline #8841 has failed for main",
                "Job: e2e-firefox\nhttps://ci.acme.test/acme/web/-/pipelines/8841",
                sender="GitLab <gitlab@ci.acme.test>",
                to="dev@example.com",
            ),
        ),
        (
            25 * HOUR,
            None,
            [],
            mail(
                "Grüße aus München — Übermorgen geht’s los 🎉",
                "Liebe Zoë,\n\nwir freuen uns auf Dich.",
                sender="Münchner Büro <buero@example.de>",
                to="Zoë Łukasz <zoe@example.pl>",
            ),
        ),
        (
            9 * HOUR,
            None,
            ["alert"],
            mail(
                "[resolved] API latency above 400 ms in eu-west",
                "Resolved after 11 minutes.",
                sender="Acme Alerts <alerts@acme.test>",
                to="oncall@example.com",
            ),
        ),
        (
            8.6 * HOUR,
            None,
            [],
            mail(
                "Lunch on Thursday?",
                "The ramen place at twelve?\n\n> Did you see the new menu?\n> They have the miso again.\n\nJonas",
                sender="Jonas Weber <jonas@example.com>",
            ),
        ),
        (
            6 * HOUR,
            "signup-e2e",
            ["signup"],
            mail(
                "Confirm your e-mail address",
                "Hi Lena,\n\nconfirm your address: https://acme.test/confirm?token=6f1c2a9d4e",
                to="lena@example.com",
            ),
        ),
        (
            4 * HOUR,
            None,
            [],
            mail(
                "New sign-in from Firefox on Linux",
                "If this was you, there is nothing to do.\nhttps://acme.test/security",
                to="sam@example.com",
            ),
        ),
        (
            3 * HOUR,
            None,
            [],
            mail("Your export is ready", "Download: https://acme.test/exports/41.zip", to="okoro@example.com"),
        ),
        (
            95 * MINUTE,
            None,
            ["billing"],
            mail(
                "Invoice INV-2304 for November",
                INVOICE,
                sender="Acme Billing <billing@acme.test>",
                files=[
                    ("INV-2304.pdf", invoice, "application/pdf"),
                    ("dashboard.png", chart, "image/png"),
                    ("usage by day.csv", b"day,calls\n2026-11-01,1204\n" * 20, "text/csv"),
                ],
            ),
        ),
        (
            70 * MINUTE,
            "checkout",
            ["orders"],
            mail(
                "Your parcel is on its way",
                "It left our warehouse in Leipzig.\n\nTrack: https://parcel.test/t/00340434161094",
                sender="Acme Shop <orders@acme.test>",
            ),
        ),
        (
            31 * MINUTE,
            None,
            [],
            mail(
                "What shipped in November",
                "Faster exports, a calmer dashboard.\n\nRead: https://acme.test/changelog/november",
                html=NEWSLETTER,
                pictures=[("hero", hill)],
                sender="Acme News <news@acme.test>",
                List_Unsubscribe="<https://acme.test/unsubscribe?u=41>",
                List_Unsubscribe_Post="List-Unsubscribe=One-Click",
                Received="from worker-3.internal (10.0.4.17) by relay.acme.test; Sat, 21 Nov 2026 10:12:31 +0000",
            ),
        ),
        (
            2 * MINUTE,
            None,
            [],
            mail(
                "482913 is your Acme sign-in code",
                "Your sign-in code is 482913\n\nIt is valid for ten minutes.",
                html=SIGN_IN,
            ),
        ),
    ]
    for number, (back, login, tags, message) in enumerate(plan, 1):
        clock.back = back
        recipients = None
        if message["Subject"].startswith("Lunch"):
            recipients = ["priya@example.com", "lena@example.com", "hidden.boss@example.com"]
        inbox.send(message, login=login, recipients=recipients)
        if tags:
            inbox.server.store.tag([number], add=tags).result()
        if back > 2 * HOUR and number != 8:
            inbox.server.store.mark([number], is_read=True).result()


def fail_sessions(inbox: Served, clock: Clock) -> None:
    """What goes wrong at clients."""
    clock.back = 3.4 * HOUR
    with inbox.client(name="legacy.php") as smtp:
        smtp.docmd("MAIL FROM:<noreply@acme test>")
    clock.back = 50 * MINUTE
    with inbox.client(name="export-worker") as smtp:
        smtp.docmd("MAIL FROM:<export@acme.test> SIZE=71303168")
    clock.back = 12 * MINUTE
    with inbox.client(name="web-1.internal") as smtp:
        smtp.docmd("MAIL FROM:<noreply@acme.test>")
        smtp.docmd("RCPT TO:<b@example.com>")
        smtp.docmd("DATA")
        smtp.send(b"Subject: half a mail\r\n\r\nThis one never ")
        assert smtp.sock is not None
        smtp.close()
        smtp.sock = None


SCENES = [
    Scene("inbox-html", "#/message/{news}"),
    Scene("inbox-html-dark", "#/message/{code}", is_dark=True),
    Scene("inbox-text", "#/message/{lunch}/text", click=".recipients .linklike"),
    Scene("inbox-parts", "#/message/{invoice}/parts"),
    Scene("inbox-session", "#/message/{code}/session", is_dark=True),
    Scene("inbox-refused", "#/sessions/refused", click="#canvas .row >> nth=1"),
    Scene("inbox-list-phone", "#/", size=PHONE),
    Scene("inbox-html-phone", "#/message/{code}", size=PHONE),
    Scene("inbox-session-phone", "#/message/{code}/session", is_dark=True, size=PHONE),
]
EMPTY_SCENES = [Scene("inbox-empty", "#/"), Scene("inbox-empty-phone", "#/setup", is_dark=True, size=PHONE)]
PLACES = {"news": "What shipped", "code": "482913", "lunch": "Lunch", "invoice": "Invoice INV"}


def take(browser: Any, inbox: Served, scenes: list[Scene], folder: Path) -> None:
    """Take the pictures."""
    ids = {
        name: str(message.id)
        for message in inbox.server.store.list(limit=100).messages
        for name, subject in PLACES.items()
        if message.subject.startswith(subject)
    }
    for scene in scenes:
        is_phone = scene.size is PHONE
        context = browser.new_context(
            viewport=scene.size,
            color_scheme="dark" if scene.is_dark else "light",
            reduced_motion="reduce",
            locale="en-GB",
            has_touch=is_phone,
            is_mobile=is_phone,
        )
        page: Page = context.new_page()
        page.goto(inbox.url + scene.fragment.format_map(ids))
        page.locator("#listening[data-state=live]").wait_for(state="attached")
        page.locator("[aria-busy=true]").first.wait_for(state="detached")
        page.wait_for_timeout(700)
        if scene.click:
            page.locator(scene.click).click()
            page.mouse.move(700, 880)
        page.wait_for_timeout(700)
        path = folder / f"{scene.name}.png"
        page.screenshot(path=path)
        maybe_shrinker = shutil.which("pngquant")
        if maybe_shrinker:
            subprocess.run(
                [maybe_shrinker, "--force", "--skip-if-larger", "--ext=.png", "--speed=1", path], check=False
            )
        context.close()
        print(f"{path}: {path.stat().st_size // 1000} KB")


def main(folder: Path = IMAGES) -> None:
    """Take all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright, shifted() as clock:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        with serving(smtp=("127.0.0.1", PORT)) as inbox:
            take(browser, inbox, EMPTY_SCENES, folder)
            send_mail(inbox, clock)
            fail_sessions(inbox, clock)
            while not all(message.is_indexed for message in inbox.server.store.list(limit=100).messages):
                time.sleep(0.05)
            take(browser, inbox, SCENES, folder)
        browser.close()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
