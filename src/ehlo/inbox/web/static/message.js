// One message: its head, what was found in it, and the tabs. What is in a tab, panels.js draws.

import { address, getMessage, getReport } from "./api.js";
import { countIn, worst } from "./check.js";
import { bdi, h, icon, iconButton, isWebLink, outLink, redraw } from "./dom.js";
import { copy } from "./feedback.js";
import { drawPanel } from "./panels.js";
import { here, link, TABS } from "./route.js";
import { fileName, person, plural, size, time } from "./words.js";

const LABELS = { html: "HTML", text: "Text", headers: "Headers", parts: "Parts", raw: "Raw", session: "Session", check: "Check" };
const LINKS_SHOWN = 3;
const FILES_SHOWN = 3;
const CODES_SHOWN = 3;

/**
 * The reader of messages: `show(id, tab)` in `place`. `actions` are what the buttons do: remove, mark, tag, release, neighbour,
 * and `onLoaded(message)`.
 */
export class Reader {
  message = null;
  #place;
  #actions;
  #aborter = new AbortController();
  #isRemoteAllowed = false;
  #report = null;

  constructor(place, actions) {
    this.#place = place;
    this.#actions = actions;
  }

  clear() {
    this.#aborter.abort();
    this.message = null;
  }

  /** The tab that is open: the wanted one, if there is something to see in it. */
  get tab() {
    return tabOf(this.message, here().tab);
  }

  async show(id) {
    if (this.message?.id === id) {
      this.#drawPanel();
      return;
    }
    this.clear();
    this.#aborter = new AbortController();
    const { signal } = this.#aborter;
    // A flash of a spinner looks slower than none.
    const late = setTimeout(() => this.#place.replaceChildren(h("div.center", { "aria-busy": "true" }, h("div.spinner"))), 180);
    try {
      const message = await getMessage(id, signal);
      if (signal.aborted) return;
      this.message = message;
      this.#isRemoteAllowed = false;
      this.#check();
      this.#draw();
      this.#actions.onLoaded(message);
    } catch (error) {
      if (error.name === "AbortError" || signal.aborted) return;
      this.#fail(error, id);
    } finally {
      clearTimeout(late);
    }
  }

  /** The same message again: the server has read on in it. */
  async refresh() {
    const id = this.message?.id;
    if (!id) return;
    const fresh = await getMessage(id, this.#aborter.signal).catch(() => null);
    if (!fresh || this.message?.id !== id) return;
    this.message = fresh;
    this.#draw();
    this.#report?.then((report) => this.#countFindings(report), () => {});
  }

  /** Whether the number of what is shown still means the same message; also if nobody can say. */
  async isSame() {
    const { message } = this;
    if (!message) return true;
    try {
      return (await getMessage(message.id, this.#aborter.signal)).received_at === message.received_at;
    } catch (error) {
      return error.status !== 404;
    }
  }

  /** Flags that changed elsewhere. */
  update(change) {
    if (!this.message) return;
    this.message = { ...this.message, ...change };
    const head = this.#place.querySelector(".message-head");
    if (head) redraw(head, ...this.#head().childNodes);
  }

  /** The bar says where the message is in the list, and what can be done with it. */
  drawBar() {
    const bar = this.message ? this.#place.querySelector(".message-bar") : null;
    if (bar) redraw(bar, ...this.#bar().childNodes);
  }

  /** Have it checked; the tab says how much was found. */
  #check() {
    const { message } = this;
    this.#report = getReport(message.id, this.#aborter.signal);
    this.#report.then((report) => this.message?.id === message.id && this.#countFindings(report), () => {}); // the tab shows why
  }

  #countFindings(report) {
    const count = countIn(report);
    const tab = this.#place.querySelector("#tab-check");
    tab?.querySelector(".count")?.remove();
    if (count) tab?.append(h("span.count", { "data-severity": worst(report), title: "Errors and warnings" }, count, h("span.sr-only", {}, " errors and warnings")));
  }

  #fail(error, id) {
    const isGone = error.status === 404;
    this.#place.replaceChildren(
      h(
        "div.center",
        { role: "alert" },
        icon(isGone ? "mail" : "offline", "big"),
        h("h2", {}, isGone ? "This message is not there" : "The message could not be loaded"),
        h("p", {}, isGone ? "It was deleted, or it belongs to another inbox." : error.message),
        isGone
          ? h("a.button", { href: link({ message: null, tab: null }) }, "Back to the list")
          : h("button.button", { type: "button", onclick: () => this.show(id) }, "Try again"),
      ),
    );
  }

  #draw() {
    const { message } = this;
    const article = h("article.message", { "aria-labelledby": "subject" });
    const tabs = h("div.tabs", { role: "tablist", "aria-label": "Views of the message" });
    for (const [index, name] of TABS.entries()) {
      const count = name === "parts" ? message.parts.length : 0;
      tabs.append(
        h(
          "a.tab",
          {
            role: "tab",
            id: `tab-${name}`,
            href: link({ tab: name }),
            "aria-controls": "panel",
            "aria-keyshortcuts": index + 1,
            "data-missing": (name === "html" && !message.has_html) || (name === "text" && !message.text),
          },
          LABELS[name],
          count > 1 ? h("span.count", {}, count) : null,
        ),
      );
    }
    tabs.addEventListener("keydown", (event) => {
      const all = [...tabs.children];
      const to = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!to) return;
      event.preventDefault();
      const next = all[(all.indexOf(document.activeElement) + to + all.length) % all.length];
      next.focus();
      next.click();
    });
    article.append(this.#head(), tabs, h("div.panel", { id: "panel", role: "tabpanel", tabindex: 0 }));
    this.#place.replaceChildren(article);
    this.#drawPanel();
  }

  #drawPanel() {
    const { tab } = this;
    for (const element of this.#place.querySelectorAll(".tab")) {
      const isOpen = element.id === `tab-${tab}`;
      element.setAttribute("aria-selected", String(isOpen));
      element.tabIndex = isOpen ? 0 : -1;
      element.setAttribute("href", link({ tab: element.id.slice(4) }));
      if (isOpen) element.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    const panel = h("div.panel", { id: "panel", role: "tabpanel", tabindex: 0, "aria-labelledby": `tab-${tab}` });
    this.#place.querySelector(".panel")?.replaceWith(panel);
    drawPanel(panel, tab, this.message, {
      isRemoteAllowed: this.#isRemoteAllowed,
      signal: this.#aborter.signal,
      report: this.#report,
      allowRemote: () => {
        this.#isRemoteAllowed = true;
        this.#drawPanel();
      },
    });
  }

  #head() {
    const { message } = this;
    return h(
      "header.message-head",
      {},
      this.#bar(),
      h(
        "div.message-title",
        {},
        h(message.subject ? "h1" : "h1.none", { id: "subject" }, bdi(message.subject || "(no subject)", { title: message.subject.length > 200 ? message.subject : null })),
        message.tags.map((name) =>
          h(
            "span.tag",
            {},
            bdi(name),
            h("button", { type: "button", "aria-label": `Remove the tag ${name}`, onclick: () => this.#actions.untag(message.id, name) }, icon("x")),
          ),
        ),
      ),
      this.#people(),
      message.bare_newlines ? h("p.problem", { role: "note" }, icon("warning"), h("span", {}, "Lines of this message end with a bare CR or LF. Mail servers refuse that, or change it.")) : null,
      message.problem ? h("p.problem", { role: "note" }, icon("warning"), h("span", {}, "Broken message: ", message.problem)) : null,
      this.#finds(),
    );
  }

  #bar() {
    const { message } = this;
    const actions = this.#actions;
    const place = actions.placeOf(message.id);
    return h(
      "div.message-bar",
      {},
      h("a.icon-button.back", { href: link({ message: null, tab: null }), "aria-label": "Back to the list" }, icon("back")),
      h("span.place", {}, place),
      iconButton("up", "Previous (k)", () => actions.neighbour(-1)),
      iconButton("down", "Next (j)", () => actions.neighbour(1)),
      h("span.rule"),
      iconButton(message.is_read ? "unread" : "mailOpen", message.is_read ? "Mark unread (m)" : "Mark read (m)", () => actions.mark([message.id], !message.is_read)),
      iconButton("tag", "Tag (t)", () => actions.tag([message.id])),
      actions.canRelease() ? iconButton("send", "Release", () => actions.release(message)) : null,
      h("a.icon-button", { href: address(`messages/${message.id}/raw`, { download: 1 }), download: `${message.id}.eml`, "aria-label": "Download as .eml (e)", "data-tip": "Download .eml (e)", id: "download-eml" }, icon("download")),
      h("button.icon-button.danger", { type: "button", "aria-label": "Delete (#)", "data-tip": "Delete (#)", "data-tip-side": "end", onclick: () => actions.remove([message.id]) }, icon("trash")),
    );
  }

  #people() {
    const { message } = this;
    const from = person(message.header_from || message.mail_from);
    const details = h("dl.envelope", { id: "envelope", hidden: true });
    const more = h("button.linklike", { type: "button", "aria-expanded": "false", "aria-controls": "envelope" }, "Details");
    more.addEventListener("click", () => {
      details.hidden = !details.hidden;
      if (!details.childElementCount) details.append(...envelope(message));
      more.setAttribute("aria-expanded", String(!details.hidden));
      more.textContent = details.hidden ? "Details" : "Hide";
    });
    const others = message.rcpt_tos.length - 1;
    return h(
      "div.people-box",
      {},
      h(
        "div.people",
        {},
        h("span.avatar", { "aria-hidden": "true" }, initial(from.name)),
        h(
          "div",
          { class: "people-text" },
          h("div.from", {}, h("strong", {}, bdi(from.name || "(nobody)")), " ", from.address && from.address !== from.name ? h("span", {}, bdi(from.address)) : null),
          h(
            "div.recipients",
            {},
            h("span", {}, "to ", bdi(message.rcpt_tos[0] ?? "nobody"), others > 0 ? ` and ${plural(others, "other")}` : ""),
            hiddenRecipients(message).length ? h("span.note-bcc", { title: "In the envelope, and not in the header" }, "Bcc") : null,
            more,
          ),
        ),
        time(message.received_at, { isLong: true }),
      ),
      details,
    );
  }

  #finds() {
    const { message } = this;
    const finds = [
      ...limited(message.codes, CODES_SHOWN, (code) => codeChip(code)),
      ...limited(files(message), FILES_SHOWN, (part) => fileChip(message, part)),
      ...limited(message.links.filter((found) => isWebLink(found.url)), LINKS_SHOWN, (found) => linkChip(found)),
    ];
    return finds.length ? h("div.finds", { role: "group", "aria-label": "Codes, files and links in this message" }, finds) : null;
  }
}

function tabOf(message, wanted) {
  if (wanted) return wanted;
  if (message.has_html) return "html";
  return "text";
}

/** The first ones, and a button for the rest. */
function limited(items, count, chip) {
  const chips = items.slice(0, count).map(chip);
  const rest = items.slice(count);
  if (rest.length === 0) return chips;
  const button = h(
    "button",
    { type: "button", onclick: () => button.parentElement.replaceWith(...rest.slice(0, 200).map(chip)) },
    `${rest.length} more`,
  );
  return [...chips, h("span.find", {}, button)];
}

function codeChip(code) {
  return h(
    "span.find.code",
    {},
    h("button.main", { type: "button", title: "Copy the code", "aria-label": `Copy the code ${code}`, onclick: () => copy(code, `Copied ${code}`) }, icon("key"), code),
    h("button", { type: "button", tabindex: -1, "aria-hidden": "true", onclick: () => copy(code, `Copied ${code}`) }, icon("copy")),
  );
}

function linkChip(found) {
  const url = new URL(found.url);
  const path = url.protocol === "mailto:" ? url.pathname : url.host + (url.pathname === "/" ? "" : url.pathname) + url.search;
  const label = found.text && found.text !== found.url ? [h("span", {}, bdi(found.text)), h("small", {}, url.host)] : [h("span", {}, path)];
  const open = outLink(found.url, icon("link"), ...label);
  open.className = "main";
  open.title = found.url;
  return h("span.find", {}, open, h("button", { type: "button", "aria-label": `Copy the link ${path}`, title: "Copy the link", onclick: () => copy(found.url, "Link copied") }, icon("copy")));
}

export function files(message) {
  return message.parts.filter((part) => part.disposition === "attachment" || (part.filename && part.disposition !== "inline"));
}

function fileChip(message, part) {
  const name = fileName(part.filename ?? `part ${part.index}`);
  return h(
    "span.find",
    {},
    h("a.main", { href: address(`messages/${message.id}/parts/${part.index}`), download: name, title: `Download ${name}` }, icon(part.content_type.startsWith("image/") ? "image" : "clip"), h("span", {}, bdi(name)), h("small", {}, size(part.size))),
  );
}

function initial(name) {
  const [letter] = new Intl.Segmenter(undefined, { granularity: "grapheme" }).segment(name.replace(/^[^\p{L}\p{N}\p{Extended_Pictographic}]+/u, "").slice(0, 40) || "?");
  return letter.segment;
}

/** Who gets it, and whom the header does not name. */
function hiddenRecipients(message) {
  const named = message.headers.filter(([name]) => /^(to|cc)$/i.test(name)).map(([, value]) => value.toLowerCase()).join(",");
  return named ? message.rcpt_tos.filter((recipient) => !named.includes(recipient.toLowerCase())) : [];
}

function envelope(message) {
  const hidden = new Set(hiddenRecipients(message));
  const options = (list) => (list?.length ? h("code", {}, ` ${list.join(" ")}`) : null);
  const rows = [
    ["MAIL FROM", [h("code", {}, `<${message.envelope.mail_from}>`), options(message.envelope.mail_options)]],
    [
      "RCPT TO",
      message.envelope.rcpt_tos.slice(0, 500).map((recipient, index) =>
        h("span.who", {}, h("code", {}, `<${recipient}>`), options(message.envelope.rcpt_options?.[index]), hidden.has(recipient) ? [" ", h("span.note-bcc", {}, "Bcc")] : null),
      ),
    ],
    ["Header To", bdi(message.header_to || "none")],
    ["Message-ID", h("code", {}, message.message_id || "none")],
    ["Received", [time(message.received_at, { isLong: true }), `, ${size(message.size)}, as `, h("code", {}, message.envelope.id)]],
    message.inbox ? ["Inbox", bdi(message.inbox)] : null,
  ];
  return rows.filter(Boolean).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]);
}
