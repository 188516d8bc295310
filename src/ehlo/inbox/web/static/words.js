// Numbers, times and names as people read them, in the language of the browser where Intl knows it.

import { h } from "./dom.js";

const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
const LONG = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const DATE = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const AGO = new Intl.RelativeTimeFormat(undefined, { style: "narrow", numeric: "auto" });
const NUMBER = new Intl.NumberFormat();

export const number = (value) => NUMBER.format(value);
export const plural = (count, one, many = `${one}s`) => `${NUMBER.format(count)} ${count === 1 ? one : many}`;

/** How long ago: "now", "5 min. ago"; from a day on, the day. */
export function ago(date, now = new Date()) {
  const seconds = (now - date) / 1000;
  if (seconds < 45) return AGO.format(0, "second");
  if (seconds < 3600) return AGO.format(-Math.max(1, Math.round(seconds / 60)), "minute");
  if (seconds < 86_400) return AGO.format(-Math.round(seconds / 3600), "hour");
  return (date.getFullYear() === now.getFullYear() ? DAY : DATE).format(date);
}

/** A <time> that shows how long ago it was, and the full date when pointed at. `tick` keeps it true. */
export function time(stamp, { isLong = false, ...attributes } = {}) {
  const date = new Date(stamp);
  if (Number.isNaN(date.getTime())) return h("span", {}, "");
  const element = h("time", { datetime: stamp, title: FULL.format(date), ...attributes });
  if (isLong) element.dataset.long = "";
  showTime(element);
  return element;
}

function showTime(element) {
  const date = new Date(element.dateTime);
  const short = ago(date);
  const isRecent = Date.now() - date < 86_400_000;
  const text = "long" in element.dataset ? LONG.format(date) + (isRecent ? ` (${short})` : "") : short;
  if (element.textContent !== text) element.textContent = text;
}

/** Every shown time, again. */
export function tick() {
  for (const element of document.querySelectorAll("time[datetime]")) showTime(element);
}

export const clock = (stamp) => CLOCK.format(new Date(stamp));

/** Octets: "812 B", "14.2 KB", "1.0 MB". */
export function size(octets) {
  if (octets < 1000) return `${octets} B`;
  const [value, unit] = octets < 999_950 ? [octets / 1000, "KB"] : octets < 999_950_000 ? [octets / 1e6, "MB"] : [octets / 1e9, "GB"];
  return `${value >= 100 ? Math.round(value) : value.toFixed(1)} ${unit}`;
}

/** `Acme <noreply@acme.test>` in its two parts; without a name, the address is the name. */
export function person(field) {
  const text = (field ?? "").trim();
  const match = /^"?(.*?)"?\s*<([^<>]*)>\s*$/s.exec(text);
  if (!match) return { name: text, address: text.includes("@") ? text : "" };
  const name = match[1].replace(/\\(.)/g, "$1").trim();
  return { name: name || match[2], address: match[2] };
}

/** A name that a stranger gave to a file, without what would turn its letters round or hide them. */
export function fileName(name) {
  return name.replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g, "\ufffd");
}
