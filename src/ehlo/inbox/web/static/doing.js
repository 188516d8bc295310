// What is done with messages: selecting, marking, tagging, deleting. Shown at once, and taken back if the server says no.

import * as api from "./api.js";
import { askRelease, askTags, confirm } from "./dialogs.js";
import { $ } from "./dom.js";
import { attempt, toast } from "./feedback.js";
import { CLOSED, go, here } from "./route.js";
import { applyChange, state } from "./state.js";
import { drawToolbar } from "./toolbar.js";
import { plural } from "./words.js";

const CHANGE_LIMIT = 500; // ids in one request

let lastPick = null;

/** For buttons and keys. */
export const actions = {
  mark,
  remove,
  removeAll,
  tag: editTags,
  untag: (id, name) => changeMessages([id], { remove_tags: [name] }),
  release: (message) => askRelease(message, state.info?.release ?? []),
  canRelease: () => (state.info?.release ?? []).length > 0,
  markAllRead,
  clearSelection,
  selectAll: () => select(state.listing.items.map((item) => item.id)),
  pickFiles: null,
};

export function forgetSelection() {
  state.selection.clear();
  lastPick = null;
}

/** Select or not; with shift, all from the last one to this. */
export function pick(id, event) {
  const { selection, listing } = state;
  const from = lastPick === null ? -1 : listing.indexOf(lastPick);
  const to = listing.indexOf(id);
  const isOn = !selection.has(id);
  const range = event.shiftKey && from >= 0 ? listing.items.slice(Math.min(from, to), Math.max(from, to) + 1) : [listing.items[to]];
  for (const item of range) selection[isOn ? "add" : "delete"](item.id);
  lastPick = id;
  afterSelection();
}

function select(ids) {
  for (const id of ids) state.selection.add(id);
  afterSelection();
}

export function clearSelection() {
  state.selection.clear();
  afterSelection();
}

/** They are no longer there to be selected. */
export function deselect(ids) {
  const before = state.selection.size;
  for (const id of ids) state.selection.delete(id);
  if (state.selection.size < before) afterSelection();
}

function afterSelection() {
  for (const element of $("canvas").querySelectorAll("li[data-id]")) {
    const isOn = state.selection.has(Number(element.dataset.id));
    element.toggleAttribute("data-selected", isOn);
    const box = element.querySelector("input");
    if (box) box.checked = isOn;
  }
  drawToolbar(state, actions);
}

/** Show it at once, then tell the server; if it says no, fetch what is true. */
export async function changeMessages(ids, change) {
  applyChange(ids, change);
  const done = await attempt(async () => {
    for (let at = 0; at < ids.length; at += CHANGE_LIMIT) await api.patchMessages({ ids: ids.slice(at, at + CHANGE_LIMIT), ...change });
    return true;
  });
  if (!done) state.listing.load();
  state.onCounts();
}

function mark(ids, isRead) {
  changeMessages(ids, { is_read: isRead });
}

async function markAllRead() {
  const { inbox, q } = here();
  applyChange(state.listing.items.map((item) => item.id), { is_read: true });
  await attempt(() => api.patchMessages({ ...scope(inbox, q), is_read: true }));
  await state.listing.load();
  state.onCounts();
}

/** What "all of these" means: by the query, of this inbox. */
function scope(inbox, q) {
  return { ...(inbox ? { inbox } : {}), ...(q ? { q } : { all: true }) };
}

async function editTags(ids) {
  const items = ids.map((id) => (state.reader.message?.id === id ? state.reader.message : state.listing.items.find((item) => item.id === id))).filter(Boolean);
  if (items.length === 0) return;
  const common = items[0].tags.filter((name) => items.every((item) => item.tags.includes(name)));
  const change = await askTags(common, state.tags);
  if (!change) return;
  for (const name of change.add_tags) state.tags.add(name);
  if (change.add_tags.length || change.remove_tags.length) changeMessages(ids, change);
}

async function remove(ids) {
  if (ids.length > 1 && !(await confirm(`Delete ${plural(ids.length, "message")}?`, "This cannot be undone.", "Delete"))) return;
  const { listing } = state;
  const isOpen = ids.includes(here().message);
  const index = isOpen ? listing.indexOf(here().message) : -1;
  const wasFocused = state.rows.cursorIndex();
  const done = await attempt(async () => {
    for (let at = 0; at < ids.length; at += CHANGE_LIMIT) await api.deleteMessages({ ids: ids.slice(at, at + CHANGE_LIMIT).join(",") });
    return true;
  });
  if (!done) return;
  listing.remove(ids);
  deselect(ids);
  toast(`${plural(ids.length, "message")} deleted`);
  // On to the next one, as who clears an inbox wants; on a phone back to the list.
  const next = index >= 0 && !isPhone() ? listing.items[Math.min(index, listing.items.length - 1)] : null;
  if (isOpen) go(next ? { message: next.id } : CLOSED, { replace: true });
  else if (wasFocused >= 0) state.rows.focus(Math.min(wasFocused, listing.items.length - 1));
  state.onCounts();
}

async function removeAll() {
  const { inbox, q } = here();
  const { total } = state.listing;
  const what = q ? plural(total, "result") : `all ${plural(total, "message")}`;
  if (!(await confirm(`Delete ${what}?`, inbox ? `They are deleted from the inbox “${inbox}”. This cannot be undone.` : "This cannot be undone.", "Delete"))) return;
  const { all, ...rest } = scope(inbox, q);
  const answer = await attempt(() => api.deleteMessages(all ? { ...rest, all: "true" } : rest));
  if (!answer) return;
  toast(`${plural(answer.deleted, "message")} deleted`);
  go(CLOSED);
  await state.listing.load();
  state.onCounts();
}

function isPhone() {
  return matchMedia("(max-width: 760px)").matches;
}
