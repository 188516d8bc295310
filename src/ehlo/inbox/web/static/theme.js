// The theme, before anything is painted. A classic script for that reason: modules wait for the document.
"use strict";
try {
  const theme = JSON.parse(localStorage.getItem("ehlo-settings") || "{}").theme;
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // No storage, or somebody else's: the theme of the system it is.
}
