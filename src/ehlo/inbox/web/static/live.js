// What happens, as the server tells it: what is new is fetched, together, however fast it comes. A page that nobody sees fetches
// nothing but its counts, for the title.

import * as api from "./api.js";
import { clearSelection, deselect } from "./doing.js";
import { announce } from "./feedback.js";
import { CLOSED, go, here } from "./route.js";
import { drawListening, drawSidebar } from "./sidebar.js";
import { applyChange, state } from "./state.js";
import { askToken, drawNotice, drawPill, drawTitle } from "./view.js";
import { person, plural } from "./words.js";

const SYNC_PAUSE = 120; // ms from an event to the request that it causes
const SYNC_LEAST = 400; // ms from one such request to the next
const INFO_PAUSE = 900;
const INFO_LEAST = 2000;
const FRESH_SHOWN = 5; // more that come at once are not shown off: each would have the browser draw for a second
const REFUSED_SHOWN = 100; // of so many, the side says "99+"

let syncTimer = null;
let syncedAt = 0;
let isSyncing = false;
let isStale = false; // something came while it was fetched: the server may have looked before

export function syncSoon() {
  if (isSyncing) isStale = true;
  else syncTimer ??= setTimeout(sync, Math.max(SYNC_PAUSE, SYNC_LEAST - (performance.now() - syncedAt)));
}

document.addEventListener("visibilitychange", () => isStale && syncSoon());

async function sync() {
  syncTimer = null;
  isStale = document.hidden;
  if (isStale) return;
  syncedAt = performance.now();
  isSyncing = true;
  await fetchNew(state.listing);
  isSyncing = false;
  if (isStale) syncSoon();
}

/** Whether somebody looks at more than the top of the list; else a list that begins anew takes nothing from anybody. */
const isHeld = () => !state.rows.isAtTop || state.openId !== null || state.selection.size > 0 || state.rows.cursor !== null;

async function fetchNew(listing) {
  const isAtTop = state.rows.isAtTop;
  const before = listing.items[0]?.id;
  const { total } = listing;
  const added = await listing.sync(isHeld() ? undefined : 1);
  if (listing !== state.listing) return;
  const above = before === undefined ? 0 : Math.max(0, listing.indexOf(before));
  if (above) {
    if (added.length <= FRESH_SHOWN) for (const item of added) state.freshIds.add(item.id);
    if (!isAtTop) {
      state.rows.shift(above);
      state.missed += above;
      drawPill();
    }
    state.rows.redraw();
  }
  if (added.length === 0 || here().view !== "messages") return;
  const [newest] = added;
  const sender = person(newest.header_from || newest.mail_from).name;
  const count = Math.max(added.length, listing.total - total);
  announce(count === 1 ? `New message from ${sender}: ${newest.subject}` : plural(count, "new message"));
}

let infoTimer = null;
let infoAt = 0;

/** Inboxes and counts, in a moment. */
export function infoSoon() {
  infoTimer ??= setTimeout(refreshInfo, Math.max(INFO_PAUSE, INFO_LEAST - (performance.now() - infoAt)));
}

export async function refreshInfo() {
  clearTimeout(infoTimer);
  infoTimer = null;
  infoAt = performance.now();
  try {
    const { inbox } = here();
    const [info, refused, all] = await Promise.all([
      api.getInfo(),
      api.listSessions({ inbox, refused: true, limit: REFUSED_SHOWN }),
      api.listMessages({ inbox, limit: 1 }),
    ]);
    state.info = info;
    state.counts = { all: all.total, unread: all.unread, refused: refused.sessions.length };
    drawListening(state.info, state.live);
    drawSidebar(state);
    drawTitle();
    state.reader.drawBar();
  } catch (error) {
    if (error.status === 401) askToken();
  }
}

let epoch = null; // the run of the server that told the last events

/** Another run of the server: its numbers may mean other messages, which nobody has selected or opened. */
async function beginAnew() {
  clearSelection();
  state.listing.load();
  if (!(await state.reader.isSame())) go(CLOSED, { replace: true });
}

/** By kind of event. */
export const HANDLERS = {
  hello: (data) => {
    if (epoch && data.epoch && data.epoch !== epoch) beginAnew();
    epoch = data.epoch || epoch;
    syncSoon();
    infoSoon();
  },
  reset: () => {
    state.listing.load();
    infoSoon();
  },
  message: () => {
    if (here().view === "messages") syncSoon();
    infoSoon();
  },
  changed: (data) => {
    if (data.message) replaceSoon(data.message);
    else {
      applyChange(data.ids, data);
      if (isSyncing) syncSoon(); // what is on its way may be older
      infoSoon();
    }
  },
  deleted: (data) => {
    if (here().view === "messages") {
      deselect(data.ids);
      state.listing.remove(data.ids);
      syncSoon(); // some may be among what is not here, or on its way
    }
    infoSoon();
  },
  inbox: infoSoon,
  session: () => {
    if (here().view === "sessions") syncSoon();
    infoSoon();
  },
};

const replacements = new Map(); // id -> the newest that is known of a message
let replaceTimer = null;

/** The server has read on in a message. It does so with each, as fast as they come: they are drawn together. */
function replaceSoon(item) {
  replacements.set(item.id, item);
  replaceTimer ??= setTimeout(replace, SYNC_PAUSE);
}

function replace() {
  // What is on its way may be older, and would undo it.
  replaceTimer = isSyncing ? setTimeout(replace, SYNC_PAUSE) : null;
  if (isSyncing) return;
  // Marks and tags have changes of their own, which are not waited with: what waited here is older than those.
  const renew = (item) => ({ ...replacements.get(item.id), is_read: item.is_read, tags: item.tags });
  if (here().view === "messages") state.listing.update([...replacements.keys()], renew);
  if (state.reader.message && !state.reader.message.is_indexed && replacements.has(state.reader.message.id)) state.reader.refresh();
  replacements.clear();
}

export function onState(now) {
  state.live = now;
  drawListening(state.info, now);
  drawNotice();
  if (now === "offline") infoSoon(); // or it is there, and wants a token
}
