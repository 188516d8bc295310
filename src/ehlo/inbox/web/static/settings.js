// What a user prefers, kept by the browser. The theme is applied by theme.js too, before the first paint.

const KEY = "ehlo-settings";
const DEFAULTS = { theme: "system", density: "comfortable", hasKeys: true, isFixedWidth: false, width: "desktop", snippet: "Python" };

export const settings = { ...DEFAULTS, ...read() };

export function change(what) {
  Object.assign(settings, what);
  try {
    localStorage.setItem(KEY, JSON.stringify(settings));
  } catch {
    // Private windows: it holds until the page is closed.
  }
  apply();
}

export function apply() {
  const root = document.documentElement;
  if (settings.theme === "system") delete root.dataset.theme;
  else root.dataset.theme = settings.theme;
  root.dataset.density = settings.density;
  window.dispatchEvent(new Event("settings"));
}

export function isDark() {
  return settings.theme === "system" ? matchMedia("(prefers-color-scheme: dark)").matches : settings.theme === "dark";
}

function read() {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? "{}");
  } catch {
    return {};
  }
}
