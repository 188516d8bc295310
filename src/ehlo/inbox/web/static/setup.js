// How to send the first mail: what is shown while there is none, and at #/setup.

import { segments } from "./dialogs.js";
import { h, icon, iconButton } from "./dom.js";
import { copy } from "./feedback.js";
import { CLOSED, link } from "./route.js";
import { change, settings } from "./settings.js";

const SNIPPETS = {
  Python: (host, port) => `import smtplib
from email.message import EmailMessage

message = EmailMessage()
message["From"] = "app@example.com"
message["To"] = "you@example.com"
message["Subject"] = "Hello"
message.set_content("It works.")

with smtplib.SMTP("${host}", ${port}) as smtp:
    smtp.send_message(message)
`,
  Django: (host, port) => `# settings.py
EMAIL_HOST = "${host}"
EMAIL_PORT = ${port}

# then: python manage.py sendtestemail you@example.com
`,
  Node: (host, port) => `import nodemailer from "nodemailer";

const transport = nodemailer.createTransport({ host: "${host}", port: ${port} });

await transport.sendMail({
  from: "app@example.com",
  to: "you@example.com",
  subject: "Hello",
  text: "It works.",
});
`,
  Laravel: (host, port) => `# .env
MAIL_MAILER=smtp
MAIL_HOST=${host}
MAIL_PORT=${port}
`,
  Rails: (host, port) => `# config/environments/development.rb
config.action_mailer.delivery_method = :smtp
config.action_mailer.smtp_settings = { address: "${host}", port: ${port} }
`,
  swaks: (host, port) => `swaks --to you@example.com --server ${host.includes(":") ? `[${host}]` : host}:${port}
`,
};

/** Host and port of "127.0.0.1:8025" or "[::1]:8025"; what listens everywhere is reached where the page is. */
export function smtpAddress(info) {
  const [, host, port] = /^\[?(.*?)\]?:(\d+)$/.exec(info?.smtp?.[0] ?? "127.0.0.1:8025") ?? [null, "127.0.0.1", "8025"];
  const isEverywhere = ["0.0.0.0", "::", "*", ""].includes(host);
  return { host: isEverywhere ? location.hostname.replace(/^\[|\]$/g, "") : host, port };
}

/** `isFirst`: there is no mail yet, and the page waits for it. */
export function drawSetup(place, info, { isFirst }) {
  const { host, port } = smtpAddress(info);
  const code = h("code");
  const showSnippet = () => {
    code.textContent = SNIPPETS[settings.snippet]?.(host, port) ?? SNIPPETS.Python(host, port);
  };
  showSnippet();
  const names = Object.keys(SNIPPETS);
  const tabs = segments("Language", names.map((name) => [name, name]), () => (names.includes(settings.snippet) ? settings.snippet : "Python"), (snippet) => {
    change({ snippet });
    showSnippet();
  });
  tabs.classList.add("snippet-tabs");
  const login = info?.auth === "users" ? "One of those it was started with" : "Any, or none";
  place.replaceChildren(
    h(
      "div.setup-frame",
      {},
      h(
        "div.setup",
        {},
        h("a.icon-button.back", { href: link(CLOSED), "aria-label": "Back to the list" }, icon("back")),
        h("h1", {}, isFirst ? "Send the first mail" : "Send mail here"),
        h("p.lead", {}, "Point your application at this server. Whatever it sends, to whomever, ends up in this page and goes nowhere else."),
        h("div.address-cards", {}, card("Host", host), card("Port", port), card("User and password", login, false), card("TLS", info?.tls ? "STARTTLS offered" : "Not needed", false)),
        tabs,
        h("div.code-block", {}, h("pre", { tabindex: 0, "aria-label": "Example" }, code), h("button.icon-button", { type: "button", "aria-label": "Copy the example", title: "Copy", onclick: () => copy(code.textContent, "Example copied") }, icon("copy"))),
        isFirst
          ? h("p.waiting", {}, "Waiting for mail. It appears here the moment it arrives.")
          : h("p.waiting", {}, "New mail appears in the list the moment it arrives. You can drop .eml files on this page, too."),
      ),
    ),
  );
}

function card(what, value, isCode = true) {
  return h(
    "div.address-card",
    {},
    h("div", {}, h("span", {}, what), isCode ? h("code", {}, value) : value),
    isCode ? iconButton("copy", `Copy: ${what}`, () => copy(value), { "data-tip": null }) : null,
  );
}
