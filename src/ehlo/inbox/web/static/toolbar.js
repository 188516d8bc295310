// The line above the list: what is shown, or what is selected and what may be done with it.

import { address } from "./api.js";
import { $, bdi, h, icon, iconButton, redraw } from "./dom.js";
import { openMenu } from "./menu.js";
import { formatRoute, here, CLOSED } from "./route.js";
import { number, plural } from "./words.js";

/** `state` is {listing, selection}; `actions` do what the buttons say. */
export function drawToolbar({ listing, selection }, actions) {
  const now = here();
  const toolbar = $("toolbar");
  const isSelecting = selection.size > 0;
  toolbar.toggleAttribute("data-selecting", isSelecting);
  $("rows").toggleAttribute("data-selecting", isSelecting);
  if (now.view === "sessions") redraw(toolbar, ...sessionTools(now, listing));
  else if (isSelecting) redraw(toolbar, ...selectionTools(listing, selection, actions));
  else redraw(toolbar, ...listTools(now, listing, actions));
}

function title(now) {
  const names = { "": "Messages", "is:unread": "Unread", "has:attachment": "With attachments" };
  return names[now.q] ?? (/^tag:[^\s]+$/.test(now.q) ? now.q.slice(4) : "Results");
}

function listTools(now, listing, actions) {
  const count = listing.state === "loading" ? "" : [number(listing.total), listing.unread && now.q !== "is:unread" ? `${number(listing.unread)} unread` : null].filter(Boolean).join(" · ");
  return [
    allBox(listing, 0, actions),
    h("h1", { id: "list-title" }, bdi(title(now)), h("span", {}, count)),
    listing.unread ? iconButton("mailOpen", "Mark all read", actions.markAllRead) : null,
    h("button.icon-button", { type: "button", "aria-label": "More", "data-tip": "More", "data-tip-side": "end", "aria-haspopup": "menu", onclick: (event) => openMenu(event.currentTarget, moreItems(now, listing, actions)) }, icon("more")),
  ].filter(Boolean);
}

function moreItems(now, listing, actions) {
  const scope = { inbox: now.inbox, q: now.q };
  const what = now.q ? "these" : "all";
  return [
    { label: "Upload .eml or mbox…", icon: "upload", onclick: actions.pickFiles },
    { label: `Download ${what} as mbox`, icon: "download", href: address("export", { ...scope, format: "mbox" }), download: "inbox.mbox" },
    { label: `Download ${what} as Maildir`, icon: "download", href: address("export", { ...scope, format: "maildir" }), download: "inbox.tar" },
    ...(listing.total ? ["-", { label: now.q ? `Delete ${plural(listing.total, "result")}…` : "Delete all messages…", icon: "trash", isDanger: true, onclick: actions.removeAll }] : []),
  ];
}

function selectionTools(listing, selection, actions) {
  const ids = [...selection];
  const hasUnread = listing.items.some((item) => selection.has(item.id) && !item.is_read);
  return [
    allBox(listing, selection.size, actions),
    h("h1", { id: "list-title" }, h("bdi", {}, `${number(selection.size)} selected`)),
    hasUnread ? iconButton("mailOpen", "Mark read", () => actions.mark(ids, true)) : iconButton("unread", "Mark unread", () => actions.mark(ids, false)),
    iconButton("tag", "Tag", () => actions.tag(ids)),
    iconButton("trash", "Delete", () => actions.remove(ids), { class: "icon-button danger" }),
    iconButton("x", "Clear the selection", actions.clearSelection, { "data-tip-side": "end" }),
  ];
}

function allBox(listing, selected, actions) {
  const box = h("input", { type: "checkbox", "aria-label": selected ? "Select none" : "Select all that are loaded", disabled: listing.items.length === 0, checked: selected > 0 && selected === listing.items.length });
  box.indeterminate = selected > 0 && selected < listing.items.length;
  box.addEventListener("click", () => (selected ? actions.clearSelection() : actions.selectAll()));
  return box;
}

function sessionTools(now, listing) {
  const choice = (label, refused) => h("a", { href: formatRoute({ ...now, ...CLOSED, refused }), "aria-current": now.refused === refused ? "page" : null }, label);
  return [
    h("h1", { id: "list-title" }, h("bdi", {}, "Sessions"), h("span", {}, listing.state === "ready" ? number(listing.items.length) + (listing.total > listing.items.length ? "+" : "") : "")),
    h("div.segments", { role: "group", "aria-label": "Which sessions" }, choice("All", false), choice("Refused, broken", true)),
  ];
}
