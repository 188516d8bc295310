// What the page shows and knows, in one place. It draws nothing.

import { here } from "./route.js";

export const state = {
  info: null,
  live: "connecting",
  listing: null,
  rows: null,
  reader: null,
  counts: {},
  tags: new Set(),
  revealed: null, // the listing in which the open message was brought into view
  missed: 0, // arrivals while the list was scrolled down
  // What rows look at.
  selection: new Set(),
  freshIds: new Set(),
  openId: null,
  keptTab: null,
  showsInbox: false,
  onPick: null,
  // What the parts want of others.
  onCounts: () => {}, // the counts may have changed
};

/** Messages have changed, here or elsewhere: as in the API, but at once. */
export function applyChange(ids, { is_read: isRead, add_tags: added = [], remove_tags: removed = [] }) {
  const apply = (item) => ({
    ...item,
    is_read: isRead ?? item.is_read,
    tags: [...new Set([...item.tags, ...added])].filter((name) => !removed.includes(name)),
  });
  const { listing } = state;
  if (here().view === "messages") {
    if (isRead !== undefined) {
      const set = new Set(ids);
      const changed = listing.items.filter((item) => set.has(item.id) && item.is_read !== isRead).length;
      listing.unread = Math.max(0, listing.unread + (isRead ? -changed : changed));
    }
    listing.update(ids, apply);
  }
  if (state.reader.message && ids.includes(state.reader.message.id)) state.reader.update(apply(state.reader.message));
}
