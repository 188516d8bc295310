// A menu that opens below its button. Popover keeps it on top and closes it; the arrow keys move in it.

import { h, icon } from "./dom.js";

/** Open it: `items` are {label, icon, onclick | href, isDanger, count, isChecked, detail}, "-" for a line, or {title}. */
export function openMenu(button, items) {
  const menu = h("div.popover.menu", { popover: "auto", role: "menu", "aria-label": button.getAttribute("aria-label") ?? "" });
  for (const item of items) {
    if (item === "-") menu.append(h("hr"));
    else if (item.title) menu.append(h("div.menu-title", {}, item.title));
    else menu.append(entry(item, menu));
  }
  document.body.append(menu);
  menu.addEventListener("toggle", (event) => {
    button.setAttribute("aria-expanded", String(event.newState === "open"));
    if (event.newState === "closed") menu.remove();
  });
  menu.addEventListener("keydown", (event) => {
    const entries = [...menu.querySelectorAll(".menu-item")];
    const at = entries.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: entries.length - 1 }[event.key];
    if (event.key === "Tab") menu.hidePopover();
    if (to === undefined) return;
    event.preventDefault();
    entries[(to + entries.length) % entries.length]?.focus();
  });
  menu.showPopover();
  place(menu, button);
  menu.querySelector("[aria-checked=true], .menu-item")?.focus({ preventScroll: true });
}

function place(menu, button) {
  const box = button.getBoundingClientRect();
  menu.style.minWidth = `max(13rem, ${Math.min(box.width, 320)}px)`;
  const left = box.left + menu.offsetWidth > innerWidth - 8 ? box.right - menu.offsetWidth : box.left;
  const top = box.bottom + menu.offsetHeight + 6 > innerHeight ? Math.max(8, box.top - menu.offsetHeight - 4) : box.bottom + 4;
  menu.style.left = `${Math.max(8, left)}px`;
  menu.style.top = `${top}px`;
}

function entry(item, menu) {
  const isChoice = item.isChecked !== undefined;
  const attributes = {
    role: isChoice ? "menuitemradio" : "menuitem",
    "aria-checked": isChoice ? String(item.isChecked) : null,
    tabindex: -1,
    onclick: (event) => {
      menu.hidePopover();
      item.onclick?.(event);
    },
  };
  const inside = [
    icon(item.isChecked ? "check" : item.icon),
    h("bdi.grow", { dir: "auto" }, item.label),
    item.count === undefined ? null : h("span.count", {}, item.count),
    item.tool ?? null,
  ];
  const name = item.isDanger ? "menu-item.danger" : "menu-item";
  return item.href
    ? h(`a.${name}`, { ...attributes, href: item.href, download: item.download }, inside)
    : h(`button.${name}`, { ...attributes, type: "button" }, inside);
}
