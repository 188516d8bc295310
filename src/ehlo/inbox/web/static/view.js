// What the list pane says besides its rows, what the reader shows, and the title: drawn from the state.

import { $, h, icon, unturned } from "./dom.js";
import { actions } from "./doing.js";
import { CLOSED, go, here } from "./route.js";
import { showSearchError } from "./search.js";
import { showSession } from "./session.js";
import { drawSetup } from "./setup.js";
import { drawSidebar } from "./sidebar.js";
import { state } from "./state.js";
import { drawToolbar } from "./toolbar.js";
import { number } from "./words.js";

let sessionAborter = new AbortController();

export function drawList() {
  const { listing } = state;
  const now = here();
  const error = listing.error;
  const isQueryError = error?.status === 400 || error?.code === "bad_query";
  showSearchError(isQueryError ? error : null, now.q);
  if (error?.status === 401) askToken();
  $("rows").setAttribute("aria-busy", String(listing.state === "loading"));
  drawListState(now, listing, isQueryError);
  drawToolbar(state, actions);
  drawNotice();
  drawPill();
  state.rows.draw();
  revealOpened(now, listing);
  state.reader.drawBar();
  if (!now.q && now.view === "messages" && listing.state === "ready") {
    state.counts.all = listing.total;
    state.counts.unread = listing.unread;
  }
  for (const item of listing.items) for (const name of item.tags ?? []) state.tags.add(name);
  drawSidebar(state);
  drawTitle();
  // The guide comes with the last message's end, and goes with the first one's arrival.
  const showsGuide = Boolean(document.querySelector(".setup"));
  if (!now.message && !now.session && !now.setup && listing.state === "ready" && showsGuide !== isEmptyInbox(now)) showReader(now);
}

/** A message that was opened by its address is in view when its list has come; after that, who looks moves the list. */
function revealOpened(now, listing) {
  if (listing.state !== "ready" || state.revealed === listing) return;
  state.revealed = listing;
  const index = now.message ? listing.indexOf(now.message) : -1;
  if (index >= 0) state.rows.revealSoon(index);
}

function drawListState(now, listing, isQueryError) {
  const element = $("list-state");
  element.hidden = true;
  if (listing.state === "loading" || listing.total > 0 && listing.state === "ready") return;
  element.hidden = false;
  const say = (drawing, title, text, ...buttons) => element.replaceChildren(icon(drawing, "big"), h("h2", {}, title), text ? h("p", {}, text) : "", ...buttons);
  const button = (label, onclick) => h("button.button", { type: "button", onclick }, label);
  if (isQueryError) say("search", "This search cannot be understood", "See the line below the search box.", button("Clear the search", () => go({ q: "", ...CLOSED })));
  else if (listing.state === "error") say("offline", "The list could not be loaded", listing.error.message, button("Try again", () => listing.load()));
  else if (now.view === "sessions") say("session", now.refused ? "Nothing was refused" : "No sessions yet", now.refused ? "Every client got what it wanted." : "They appear as soon as a client connects.");
  else if (now.q === "is:unread") say("mailOpen", "All read", "New mail appears here as it arrives.");
  else if (now.q) say("search", "Nothing found", "No message here has all of these terms.", button("Clear the search", () => go({ q: "", ...CLOSED })));
  else say("inbox", "No mail yet", "It appears here the moment it arrives.", h("button.button.narrow-only", { type: "button", onclick: () => go({ ...CLOSED, setup: true }) }, "How to send some"));
}

export function drawNotice() {
  const notice = $("notice");
  const isOffline = state.live === "offline";
  notice.hidden = !isOffline;
  if (isOffline && !notice.childElementCount) {
    notice.replaceChildren(icon("offline"), h("span", {}, "The server cannot be reached. What you see may be old."));
  }
}

export function drawPill() {
  const pill = $("pill");
  if (state.rows.isAtTop) state.missed = 0;
  pill.hidden = state.missed === 0;
  if (state.missed) pill.replaceChildren(icon("up"), `${number(state.missed)} new`);
}

export function drawTitle() {
  const unread = state.counts.unread ?? 0;
  if (!here().message) document.title = titled("ehlo inbox");
  else if (state.reader.message) document.title = titled(state.reader.message.subject || "(no subject)");
  const address = `static/favicon${unread ? "-unread" : ""}.svg`;
  if ($("favicon").getAttribute("href") !== address) $("favicon").setAttribute("href", address);
}

export function titled(text) {
  const unread = state.counts.unread ?? 0;
  const shown = unturned(text);
  const short = shown.length > 80 ? `${shown.slice(0, 79)}…` : shown;
  return unread ? `(${number(unread)}) ${short}` : short;
}

export function placeOf(id) {
  const index = state.listing?.indexOf(id) ?? -1;
  return index < 0 ? "" : `${number(index + 1)} of ${number(state.listing.total)}`;
}

export function showReader(now) {
  sessionAborter.abort();
  const element = $("reader");
  if (now.message) {
    element.setAttribute("aria-label", "Message");
    state.reader.show(now.message);
    return;
  }
  state.reader.clear();
  if (now.session) {
    sessionAborter = new AbortController();
    element.setAttribute("aria-label", "Session");
    showSession(element, now.session, sessionAborter.signal);
  } else if (now.setup || isEmptyInbox(now)) {
    element.setAttribute("aria-label", "How to send mail");
    drawSetup(element, state.info, { isFirst: isEmptyInbox(now) });
  } else {
    const what = now.view === "sessions" ? "session" : "message";
    element.replaceChildren(
      h(
        "div.center",
        {},
        icon(what === "session" ? "session" : "mail", "big"),
        h("h2", {}, `No ${what} selected`),
        h("p", {}, what === "session" ? "Choose one to see what client and server said." : "Choose one on the left, or use the keyboard."),
        what === "message" ? h("div.keys", {}, h("span", {}, h("kbd", {}, "j"), " ", h("kbd", {}, "k"), " move"), h("span", {}, h("kbd", {}, "/"), " search"), h("span", {}, h("kbd", {}, "?"), " all keys")) : null,
      ),
    );
  }
}

function isEmptyInbox(now) {
  return now.view === "messages" && !now.q && state.listing?.state === "ready" && state.listing.total === 0;
}

/** A server that wants a token gives its cookie to who brings it along. */
export function askToken() {
  if (document.querySelector(".token")) return;
  const form = h(
    "form.center.token",
    {
      onsubmit: (event) => {
        event.preventDefault();
        location.assign(`./?token=${encodeURIComponent(form.querySelector("input").value.trim())}`);
      },
    },
    icon("key", "big"),
    h("h2", {}, "This inbox needs its token"),
    h("p", {}, "It is in the address that the server printed when it started, or in the link that came with the inbox."),
    h("input.input", { name: "token", type: "password", required: true, autocomplete: "off", "aria-label": "Token" }),
    h("button.button.primary", { type: "submit" }, "Open"),
  );
  $("app").replaceChildren(h("main.reader.token-page", {}, form));
  form.querySelector("input").focus();
}
