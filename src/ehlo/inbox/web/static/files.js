// Files that are dropped on the page, or picked: each becomes a message, an mbox becomes many.

import { importMbox, uploadMessage } from "./api.js";
import { h } from "./dom.js";
import { toast } from "./feedback.js";
import { here } from "./route.js";
import { plural } from "./words.js";

/** `onDone()` is called when something has come in. */
export function startFiles(onDone) {
  let depth = 0;
  const isFiles = (event) => event.dataTransfer?.types.includes("Files");
  const set = (value) => {
    depth = value;
    document.body.toggleAttribute("data-dropping", depth > 0);
  };
  window.addEventListener("dragenter", (event) => isFiles(event) && set(depth + 1));
  window.addEventListener("dragleave", (event) => isFiles(event) && set(Math.max(0, depth - 1)));
  window.addEventListener("dragover", (event) => isFiles(event) && event.preventDefault());
  window.addEventListener("drop", (event) => {
    if (!isFiles(event)) return;
    event.preventDefault();
    set(0);
    upload(event.dataTransfer.files, onDone);
  });
}

export function pickFiles(onDone) {
  const input = h("input", { type: "file", multiple: true, accept: ".eml,.mbox,.mbx,message/rfc822,application/mbox" });
  input.addEventListener("change", () => upload(input.files, onDone));
  input.click();
}

async function upload(files, onDone) {
  let count = 0;
  for (const file of files) {
    try {
      if (await isMbox(file)) {
        count += (await importMbox(here().inbox, file)).imported;
      } else {
        await uploadMessage(here().inbox, file);
        count += 1;
      }
    } catch (error) {
      toast(`${file.name}: ${error.message}`, { isBad: true });
    }
  }
  if (count) {
    toast(`${plural(count, "message")} added`);
    onDone();
  }
}

/** By its first octets: names lie. */
async function isMbox(file) {
  return (await file.slice(0, 5).text()) === "From ";
}
