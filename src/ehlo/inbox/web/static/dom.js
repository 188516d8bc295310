// Building elements. Data becomes text nodes and attributes here, and never markup: there is no innerHTML on this page.

import { ICONS } from "./icons.js";

const SVG = "http://www.w3.org/2000/svg";

/**
 * h("button.primary", { type: "button", onclick }, "Text", child): an element with classes, attributes, listeners, children.
 * null, undefined and false stand for nothing, as attribute and as child.
 */
export function h(what, attributes = {}, ...children) {
  const [name, ...classes] = what.split(".");
  const element = document.createElement(name || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "value" || key === "checked" || key === "selected") element[key] = value;
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(element, child);
    else element.append(child);
  }
}

export function icon(name, extra = "") {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", `icon ${extra}`.trim());
  for (const path of ICONS[name] ?? []) {
    const element = document.createElementNS(SVG, "path");
    element.setAttribute("d", path);
    svg.append(element);
  }
  return svg;
}

/** The placeholders of index.html become icons. */
export function drawIcons(root = document) {
  for (const place of root.querySelectorAll("svg[data-icon]")) place.replaceWith(icon(place.dataset.icon));
}

export function iconButton(name, label, onclick, attributes = {}) {
  return h("button.icon-button", { type: "button", "aria-label": label, "data-tip": label, onclick, ...attributes }, icon(name));
}

/** Text without the controls that turn letters round, which make one name look like another: they show as U+FFFD. */
export const unturned = (text) => text.replace(/[\u202a-\u202e\u2066-\u2069]/g, "\ufffd");

/** Text of unknown direction, kept apart from what stands around it. */
export function bdi(text, attributes = {}) {
  return h("bdi", { dir: "auto", ...attributes }, typeof text === "string" ? unturned(text) : text);
}

/** Put other children in, and the focus back on the one that has its name: what is drawn anew must not lose it. */
export function redraw(place, ...children) {
  const focused = place.contains(document.activeElement) ? nameOf(document.activeElement) : null;
  place.replaceChildren(...children);
  if (focused === null) return;
  const same = [...place.querySelectorAll("a, button, input")].find((element) => nameOf(element) === focused);
  same?.focus({ preventScroll: true });
}

const nameOf = (element) => `${element.localName} ${element.id || element.getAttribute("aria-label") || element.getAttribute("href") || element.textContent}`;

export const $ = (id) => document.getElementById(id);

/** Whether an address may become a link: what a mail says is not trusted to be one. */
export function isWebLink(address) {
  try {
    return ["http:", "https:", "mailto:"].includes(new URL(address).protocol);
  } catch {
    return false;
  }
}

export function outLink(address, ...children) {
  return h("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, ...children);
}
