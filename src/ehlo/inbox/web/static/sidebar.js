// The side: which inbox, which view, whether the page is live, and the buttons that belong to nothing else.

import { askDeleteInbox, askInbox, showKeys, showSettings } from "./dialogs.js";
import { $, bdi, h, icon, iconButton, redraw } from "./dom.js";
import { drawFaultsButton, showFaults } from "./faults.js";
import { attempt, copy } from "./feedback.js";
import { openMenu } from "./menu.js";
import { CLOSED, formatRoute, go, here } from "./route.js";
import { change, isDark } from "./settings.js";
import { smtpAddress } from "./setup.js";
import { number } from "./words.js";

const STATES = { live: "Live", connecting: "Connecting…", offline: "Offline, trying again…" };

const VIEWS = [
  { key: "all", label: "Messages", drawing: "mail", to: { view: "messages", q: "" } },
  { key: "unread", label: "Unread", drawing: "unread", to: { view: "messages", q: "is:unread" } },
  { key: "files", label: "With attachments", drawing: "clip", to: { view: "messages", q: "has:attachment" } },
  { key: "sessions", label: "Sessions", drawing: "session", to: { view: "sessions", refused: false } },
  { key: "refused", label: "Refused and broken", drawing: "refused", to: { view: "sessions", refused: true } },
];

let drawn = ""; // what the side shows, so that it is not drawn for every mail

/** `state` is {info, counts: {all, unread, refused}, tags}. */
export function drawSidebar(state) {
  const now = here();
  const looks = JSON.stringify([now, state.counts, [...state.tags], state.info?.inbox]);
  if (looks === drawn) return;
  drawn = looks;
  redraw($("nav"), ...VIEWS.map((view) => viewItem(view, now, state.counts)));
  const tags = [...state.tags].sort();
  $("tags").hidden = tags.length === 0;
  redraw($("tag-list"), ...tags.slice(0, 30).map((name) => tagItem(name, now)));
  $("switcher-name").textContent = now.inbox || state.info?.inbox || "All inboxes";
  $("setup-link").href = formatRoute({ ...now, ...CLOSED, setup: true });
  drawTheme();
}

function viewItem(view, now, counts) {
  const to = { ...now, ...CLOSED, q: "", refused: false, ...view.to };
  const isHere = now.view === to.view && now.q === to.q && now.refused === to.refused;
  const count = counts[view.key];
  const kinds = { unread: "count strong", refused: "count bad" };
  return h(
    "li",
    {},
    h(
      "a",
      { href: formatRoute(to), "aria-current": isHere ? "page" : null },
      icon(view.drawing),
      h("bdi", {}, view.label),
      count ? h("span", { class: kinds[view.key] ?? "count" }, count > 99 && view.key === "refused" ? "99+" : number(count)) : null,
    ),
  );
}

function tagItem(name, now) {
  const q = /[\s"]/.test(name) ? `tag:"${name}"` : `tag:${name}`;
  const isHere = now.view === "messages" && now.q === q;
  return h("li", {}, h("a", { href: formatRoute({ ...now, ...CLOSED, view: "messages", refused: false, q }), "aria-current": isHere ? "page" : null }, icon("tag"), bdi(name)));
}

export function drawListening(info, state) {
  if (state === "live") drawFaultsButton(info);
  const place = $("listening");
  place.dataset.state = state;
  const { host, port } = smtpAddress(info);
  const where = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  redraw(
    place,
    h("span.live", { role: "status" }, STATES[state]),
    info ? h("span.address", {}, h("code", {}, where), iconButton("copy", "Copy the SMTP address", () => copy(where, `Copied ${where}`), { class: "icon-button small", "data-tip": null })) : null,
    info ? h("span.note", {}, `SMTP${info.tls ? ", STARTTLS" : ""}${info.auth === "users" ? ", with a login" : ", any login"}`) : null,
  );
}

function drawTheme() {
  const button = $("theme-button");
  const label = isDark() ? "Light theme" : "Dark theme";
  button.setAttribute("aria-label", label);
  button.dataset.tip = label;
  button.dataset.tipSide = "end";
  button.replaceChildren(icon(isDark() ? "sun" : "moon"));
}

/** `getInfo()` gives the newest info; `refresh()` fetches it anew. */
export function startSidebar({ getInfo, refresh }) {
  $("theme-button").addEventListener("click", () => {
    const next = isDark() ? "light" : "dark";
    // Back to what the system says where that is the same: then it goes on following it.
    const isSystem = matchMedia("(prefers-color-scheme: dark)").matches === (next === "dark");
    change({ theme: isSystem ? "system" : next });
  });
  window.addEventListener("settings", drawTheme);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawTheme);
  $("settings-button").addEventListener("click", showSettings);
  $("keys-button").addEventListener("click", showKeys);
  $("faults-button").addEventListener("click", showFaults);
  $("switcher").addEventListener("click", () => openMenu($("switcher"), inboxItems(getInfo(), refresh)));
  const setMenu = (isOpen) => {
    document.body.dataset.menu = isOpen ? "open" : "";
    $("menu-button").setAttribute("aria-expanded", String(isOpen));
    if (isOpen) $("sidebar").querySelector("a, button").focus();
  };
  $("menu-button").addEventListener("click", () => setMenu(true));
  $("scrim").addEventListener("click", () => setMenu(false));
  $("sidebar").addEventListener("click", (event) => event.target.closest("a") && setMenu(false));
  $("sidebar").addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || document.body.dataset.menu !== "open") return;
    event.preventDefault();
    setMenu(false);
    $("menu-button").focus();
  });
}

function inboxItems(info, refresh) {
  const now = here();
  const items = [];
  if (info?.inbox) {
    items.push({ label: info.inbox, icon: "inbox", isChecked: true });
  } else {
    items.push({ label: "All inboxes", icon: "inbox", isChecked: !now.inbox, onclick: () => go({ inbox: "", ...CLOSED }) });
    for (const { name, messages } of info?.inboxes ?? []) {
      if (!name) continue;
      items.push({ label: name, icon: "inbox", isChecked: now.inbox === name, count: number(messages), onclick: () => go({ inbox: name, ...CLOSED }) });
    }
  }
  const canChange = info?.can_create_inboxes;
  if (canChange) {
    items.push("-", {
      label: "New inbox…",
      icon: "plus",
      onclick: async () => {
        const name = await askInbox();
        if (!name) return;
        await refresh();
        go({ inbox: name, q: "", view: "messages", ...CLOSED });
      },
    });
    if (now.inbox) {
      items.push({
        label: "Delete this inbox…",
        icon: "trash",
        isDanger: true,
        onclick: () =>
          attempt(async () => {
            if (!(await askDeleteInbox(now.inbox))) return;
            go({ inbox: "", ...CLOSED });
            await refresh();
          }),
      });
    }
  }
  return items;
}
