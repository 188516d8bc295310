// The keyboard: which key does what. Nothing is done while somebody types, or while a dialog or menu is open.

import { settings } from "./settings.js";

/** For the help: [title, [[keys, what they do]]]. */
export const KEYS = [
  ["Messages", [["j k", "Next, previous"], ["Enter", "Open"], ["u", "Back to the list"], ["x", "Select"], ["#", "Delete"], ["t", "Tag"], ["m", "Mark read or unread"]]],
  ["In a message", [["1 … 6", "HTML, text … session"], ["c", "Copy the code"], ["o", "Open the first link"], ["e", "Download as .eml"]]],
  ["Everywhere", [["/", "Search"], ["g m", "Messages"], ["g u", "Unread"], ["g s", "Sessions"], ["Esc", "Clear selection, close"], ["?", "This help"]]],
];

const PREFIX_TIME = 1000; // ms in which the key after "g" must come

/** `actions` are functions by key, "g m" for a sequence. */
export function startKeys(actions) {
  let prefix = "";
  let prefixAt = 0;
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (document.querySelector("dialog[open], .menu:popover-open")) return;
    const target = event.target;
    if (target.isContentEditable || /^(textarea|select)$/.test(target.localName)) return;
    if (target.localName === "input" && target.type !== "checkbox") return;
    if (event.key !== "Escape" && !settings.hasKeys) return;
    const isFresh = prefix && event.timeStamp - prefixAt < PREFIX_TIME;
    const key = isFresh ? `${prefix} ${event.key}` : event.key;
    prefix = "";
    if (event.key === "g" && !isFresh) {
      prefix = "g";
      prefixAt = event.timeStamp;
      return;
    }
    const action = actions[key];
    if (!action) return;
    // Enter and space mean what they mean on a button or a link.
    if (key === "Enter" && target.closest("a, button, input")) return;
    if (action(event) !== false) event.preventDefault();
  });
}
