// The search box: what is typed becomes the address of a search, and what the server objects to is shown below it.

import { $, h } from "./dom.js";
import { CLOSED, go, here } from "./route.js";

const EXAMPLES = [
  ["invoice", "a word in subject, text or addresses"],
  ['"sign-in code"', "these words in this order"],
  ["from:acme", "by sender"],
  ["to:priya@example.com", "by recipient, of header or envelope"],
  ["subject:welcome", "in the subject"],
  ["has:attachment", "with files; has:html too"],
  ["is:unread", "not opened yet; is:read"],
  ["tag:billing", "with this tag"],
  ["before:2h after:2026-01-31", "by time: so long ago, or a date"],
  ["larger:1M smaller:10M", "by size"],
  ["-from:ci", "a minus in front: all but these"],
];
const PAUSE = 220; // ms without a key before a search begins

let timer = null;

export function startSearch() {
  const input = $("search-input");
  const help = $("search-help");
  help.append(
    h("h2", {}, "What the search understands"),
    ...EXAMPLES.map(([code, says]) =>
      h("button", { type: "button", onclick: () => insert(code) }, h("code", {}, code), h("span", {}, says)),
    ),
    h("p", {}, "All terms must hold. A word finds the words that begin with it."),
  );
  help.addEventListener("toggle", (event) => {
    if (event.newState !== "open") return;
    const box = $("search-form").getBoundingClientRect();
    help.style.top = `${box.bottom + 6}px`;
    help.style.left = `${Math.max(12, Math.min(box.left, innerWidth - help.offsetWidth - 12))}px`;
  });
  input.addEventListener("input", () => {
    $("search-clear").hidden = !input.value;
    clearTimeout(timer);
    timer = setTimeout(search, PAUSE);
  });
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    if (input.value) clear();
    else input.blur();
  });
  $("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
  $("search-clear").addEventListener("click", () => {
    clear();
    input.focus();
  });
}

/** The box shows where the page is, unless somebody is typing in it. */
export function showQuery(q) {
  const input = $("search-input");
  if (document.activeElement !== input || input.value.trim() !== q.trim()) input.value = q;
  $("search-clear").hidden = !input.value;
}

/** `error` is an ApiError of kind bad_query, or null. */
export function showSearchError(error, q) {
  const place = $("search-error");
  const isBad = error !== null;
  place.hidden = !isBad;
  $("search").toggleAttribute("data-invalid", isBad);
  $("search-input").setAttribute("aria-invalid", isBad);
  if (!isBad) return;
  const rest = error.at === null ? "" : q.slice(error.at).split(/\s/)[0].slice(0, 60);
  const text = error.message.charAt(0).toUpperCase() + error.message.slice(1);
  place.replaceChildren(text, ...(rest ? [" — ", h("mark", {}, rest)] : []));
}

function search() {
  clearTimeout(timer);
  const q = $("search-input").value.trim();
  const now = here();
  if (now.view === "messages" && now.q === q) return;
  // While somebody types, the steps between are no places to come back to.
  go({ view: "messages", q, refused: false, ...CLOSED }, { replace: Boolean(now.q) && Boolean(q) });
}

function clear() {
  $("search-input").value = "";
  $("search-clear").hidden = true;
  search();
}

function insert(code) {
  const input = $("search-input");
  input.value = `${input.value.trim()} ${code}`.trim();
  $("search-help").hidePopover();
  input.focus();
  search();
}
