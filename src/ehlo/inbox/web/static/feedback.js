// Short answers to what the user did, and to nobody in particular.

import { $, h } from "./dom.js";

/** A line at the foot of the page, for some seconds. */
export function toast(text, { isBad = false } = {}) {
  const element = h(isBad ? "div.toast.bad" : "div.toast", { role: isBad ? "alert" : "status" }, text);
  const place = $("toasts");
  while (place.childElementCount > 2) place.firstElementChild.remove();
  place.append(element);
  setTimeout(() => element.classList.add("leaving"), isBad ? 6000 : 2600);
  setTimeout(() => element.remove(), isBad ? 6300 : 2900);
}

/** What a screen reader says when it comes to it. */
export function announce(text) {
  $("announcer").textContent = text;
}

/** Do it; if the server says no, show why, and return undefined. */
export async function attempt(doing) {
  try {
    return await doing();
  } catch (error) {
    if (error.name !== "AbortError") toast(error.message, { isBad: true });
    return undefined;
  }
}

export async function copy(text, what = "Copied") {
  if (await writeClipboard(text)) toast(what);
  else toast("The browser does not let this page copy", { isBad: true });
}

async function writeClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without https, on another host than localhost: the old way.
    const area = h("textarea.sr-only", { value: text, readonly: true });
    const focused = document.activeElement;
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    focused?.focus();
    return done;
  }
}
