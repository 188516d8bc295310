// Where the page is, as the part of its address behind the #. Every view has an address of its own.
//
//   #/message/12                  #/search/from%3Aacme/message/12/headers
//   #/inbox/team-a/search/order   #/sessions/refused/session/s31a0       #/setup

export const TABS = ["html", "text", "headers", "parts", "raw", "session", "check"];

const EMPTY = { inbox: "", view: "messages", q: "", refused: false, message: null, tab: null, session: null, setup: false };

/** The place that a fragment names; what it does not understand is left out. */
function parseRoute(fragment) {
  const route = { ...EMPTY };
  const words = fragment.replace(/^#?\/?/, "").split("/").map(decode);
  while (words.length) {
    const word = words.shift();
    if (word === "inbox") route.inbox = words.shift() ?? "";
    else if (word === "search") route.q = words.shift() ?? "";
    else if (word === "sessions") route.view = "sessions";
    else if (word === "refused") route.refused = true;
    else if (word === "setup") route.setup = true;
    else if (word === "session") route.session = words.shift() || null;
    else if (word === "message") {
      const id = Number(words.shift());
      if (Number.isSafeInteger(id) && id > 0) route.message = id;
      if (TABS.includes(words[0])) route.tab = words.shift();
    }
  }
  return route;
}

export function formatRoute(route) {
  const words = [];
  if (route.inbox) words.push("inbox", route.inbox);
  if (route.view === "sessions") {
    words.push("sessions");
    if (route.refused) words.push("refused");
    if (route.session) words.push("session", route.session);
  } else {
    if (route.q) words.push("search", route.q);
    if (route.message) words.push("message", route.message, ...(route.tab ? [route.tab] : []));
  }
  if (route.setup) words.push("setup");
  return `#/${words.map(encodeURIComponent).join("/")}`;
}

/** Where the page is now. */
export const here = () => parseRoute(location.hash);

/** The address of a place that differs from this one by `change`. */
export const link = (change) => formatRoute({ ...here(), ...change });

/** Go there; with `replace`, without an entry in the history. */
export function go(change, { replace = false } = {}) {
  const fragment = link(change);
  if (fragment === location.hash) return;
  if (replace) {
    history.replaceState(null, "", fragment);
    window.dispatchEvent(new HashChangeEvent("hashchange"));
  } else {
    location.hash = fragment;
  }
}

/** No message, no session: the list alone. */
export const CLOSED = { message: null, tab: null, session: null, setup: false };

function decode(word) {
  try {
    return decodeURIComponent(word);
  } catch {
    return word;
  }
}
