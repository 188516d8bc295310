// The page: joins the parts. Follows its address, opens the list that it names, and listens to keys and events.

import * as api from "./api.js";
import { showKeys } from "./dialogs.js";
import { actions, changeMessages, clearSelection, forgetSelection, pick } from "./doing.js";
import { $, drawIcons, isWebLink } from "./dom.js";
import { listen } from "./events.js";
import { copy } from "./feedback.js";
import { pickFiles, startFiles } from "./files.js";
import { messageRows, sessionRows } from "./items.js";
import { startKeys } from "./keys.js";
import { Listing } from "./listing.js";
import { HANDLERS, infoSoon, onState, refreshInfo, syncSoon } from "./live.js";
import { Reader } from "./message.js";
import { CLOSED, go, here, TABS } from "./route.js";
import { Rows } from "./rows.js";
import { showQuery, showSearchError, startSearch } from "./search.js";
import { apply } from "./settings.js";
import { drawListening, drawSidebar, startSidebar } from "./sidebar.js";
import { state } from "./state.js";
import { drawList, drawPill, drawTitle, placeOf, showReader, titled } from "./view.js";
import { tick } from "./words.js";

let place = null; // what the list shows now: inbox, view, query

const makers = { messages: messageRows(state), sessions: sessionRows(state) };
const make = {
  row: (item) => makers[here().view].row(item),
  isSame: (element, item) => makers[here().view].isSame(element, item),
  ghost: () => makers.messages.ghost(),
};
const rows = new Rows($("rows"), $("canvas"), make);
const reader = new Reader($("reader"), {
  ...actions,
  neighbour: move,
  placeOf,
  onLoaded: (message) => {
    document.title = titled(message.subject || "(no subject)");
    if (!message.is_read) changeMessages([message.id], { is_read: true });
  },
});
Object.assign(state, { rows, reader, onPick: pick, onCounts: infoSoon });
actions.pickFiles = () => pickFiles(syncSoon);

// ---- where the page is

function follow() {
  const now = here();
  const wanted = JSON.stringify([now.inbox, now.view, now.q, now.refused]);
  state.openId = now.view === "sessions" ? now.session : now.message;
  state.keptTab = now.tab;
  if (wanted !== place) {
    place = wanted;
    openListing(now);
  }
  const isReading = Boolean(now.message || now.session || now.setup);
  document.body.dataset.pane = isReading ? "reader" : "list";
  showQuery(now.view === "messages" ? now.q : "");
  showReader(now);
  rows.redraw();
  drawSidebar(state);
  drawTitle();
}

function openListing(now) {
  state.listing?.close();
  forgetSelection();
  state.freshIds.clear();
  state.missed = 0;
  state.showsInbox = !now.inbox;
  const listing = now.view === "sessions" ? sessionListing(now) : messageListing(now);
  state.listing = listing;
  listing.addEventListener("change", drawList);
  rows.show(listing);
  showSearchError(null);
  drawList();
  listing.load();
}

function messageListing({ inbox, q }) {
  return new Listing(async (page) => {
    const { messages, total, unread } = await api.listMessages({ inbox, q, ...page });
    return { items: messages, total, unread };
  });
}

function sessionListing({ inbox, refused }) {
  const cursors = new Map(); // id of a page's last session -> where the next page begins
  return new Listing(async ({ before, ...page }) => {
    const { sessions, total, cursor } = await api.listSessions({ inbox, refused, ...page, before: before && (cursors.get(before) ?? before) });
    if (cursor && sessions.length) cursors.set(sessions.at(-1).id, cursor);
    return { items: sessions, total };
  });
}

// ---- moving

/** The next or previous one: opened, if one is open; else it gets the focus. */
async function move(step) {
  const { listing } = state;
  const now = here();
  const openIndex = state.openId === null ? -1 : listing.indexOf(state.openId);
  const from = openIndex >= 0 ? openIndex : rows.cursorIndex();
  const index = from + step;
  if (index < 0 || index >= listing.total) return;
  if (index >= listing.items.length) await listing.more(index + 1);
  const item = listing.items[index];
  if (!item) return;
  rows.focus(index);
  if (openIndex >= 0) go(now.view === "sessions" ? { session: item.id } : { message: item.id }, { replace: true });
}

function current() {
  if (state.selection.size) return [...state.selection];
  if (here().message) return [here().message];
  const item = here().view === "messages" ? state.listing.items[rows.cursorIndex()] : null;
  return item ? [item.id] : [];
}

function onCurrent(doing) {
  return () => {
    const ids = current();
    if (ids.length) doing(ids);
  };
}

const keys = {
  j: () => move(1),
  k: () => move(-1),
  ArrowDown: (event) => (event.target.closest(".rows") ? move(1) : false),
  ArrowUp: (event) => (event.target.closest(".rows") ? move(-1) : false),
  Enter: () => {
    const item = state.listing.items[Math.max(0, rows.cursorIndex())];
    if (item) go(here().view === "sessions" ? { session: item.id } : { message: item.id });
  },
  x: (event) => {
    const item = state.listing.items[rows.cursorIndex()];
    if (item && here().view === "messages") pick(item.id, event);
  },
  u: () => closeReader(),
  Escape: () => {
    if (state.selection.size) clearSelection();
    else closeReader();
  },
  "#": onCurrent(actions.remove),
  Delete: onCurrent(actions.remove),
  t: onCurrent(actions.tag),
  m: onCurrent((ids) => {
    const set = new Set(ids);
    const items = [...state.listing.items, reader.message].filter((item) => item && set.has(item.id));
    actions.mark(ids, items.some((item) => !item.is_read));
  }),
  c: () => (reader.message?.codes.length ? copy(reader.message.codes[0], `Copied ${reader.message.codes[0]}`) : false),
  o: () => {
    const found = reader.message?.links.find((one) => isWebLink(one.url));
    if (found) window.open(found.url, "_blank", "noopener,noreferrer");
  },
  e: () => $("download-eml")?.click(),
  "/": () => {
    $("search-input").focus();
    $("search-input").select();
  },
  "?": () => {
    showKeys();
  },
  "g m": () => go({ view: "messages", q: "", refused: false, ...CLOSED }),
  "g u": () => go({ view: "messages", q: "is:unread", refused: false, ...CLOSED }),
  "g s": () => go({ view: "sessions", q: "", refused: false, ...CLOSED }),
  ...Object.fromEntries(TABS.map((tab, index) => [String(index + 1), () => (here().message ? go({ tab }, { replace: true }) : false)])),
};

function closeReader() {
  const id = state.openId;
  if (!id && !here().setup) return;
  go(CLOSED);
  const index = state.listing.indexOf(id);
  if (index >= 0) requestAnimationFrame(() => rows.focus(index));
}

// ---- the beginning

drawIcons();
apply();
startSearch();
startSidebar({ getInfo: () => state.info, refresh: refreshInfo });
startFiles(syncSoon);
startKeys(keys);
$("pill").addEventListener("click", () => {
  state.missed = 0;
  rows.toTop();
  drawPill();
});
$("rows").addEventListener("scroll", () => state.missed && rows.isAtTop && drawPill(), { passive: true });
window.addEventListener("hashchange", follow);
window.addEventListener("settings", () => rows.redraw());
setInterval(tick, 20_000);
drawListening(null, "connecting");
follow();
refreshInfo().then(() => {
  // The guide names the server.
  if (document.querySelector(".setup")) showReader(here());
});
listen(api.address("events", { together: 1 }), (kind, data) => HANDLERS[kind]?.(data), onState);
