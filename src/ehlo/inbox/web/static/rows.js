// A list of any length in a scroller: only the rows that are seen exist. All have one height, which CSS gives.
// Knows indexes and pixels; what is in a row, others say.

const MARGIN = 8; // rows above and below what is seen

/**
 * `makeRow(item)` gives an element, `isSame(element, item)` whether it still shows the item, `makeGhost()` an element for an
 * item that is on its way. Rows are `<li>`; the first link in one takes the focus.
 */
export class Rows {
  cursor = null; // id of the row that keys move
  #scroller;
  #canvas;
  #listing = null;
  #make;
  #shown = new Map(); // id, or "ghost" and index -> element
  #height = 76;
  #isDue = false;
  #revealed = null; // index of a row to bring into view when there is room for it

  constructor(scroller, canvas, make) {
    this.#scroller = scroller;
    this.#canvas = canvas;
    this.#make = make;
    scroller.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(scroller);
    canvas.addEventListener("focusin", (event) => {
      const row = event.target.closest("li");
      if (row?.dataset.id) this.#setCursor(row.dataset.id);
    });
  }

  show(listing) {
    this.#listing = listing;
    this.cursor = null;
    this.#clear();
    this.#scroller.scrollTop = 0;
    this.draw();
  }

  get isAtTop() {
    return this.#scroller.scrollTop < this.#height / 2;
  }

  /** Draw soon: once per frame, however often it is asked for. */
  draw() {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      this.#draw();
    });
  }

  /** All rows anew: they show something else of the same items. */
  redraw() {
    for (const element of this.#shown.values()) element.dataset.stale = "";
    this.draw();
  }

  /** Items came in above: what is looked at stays where it is. */
  shift(count) {
    if (!this.isAtTop) this.#scroller.scrollTop += count * this.#height;
  }

  toTop() {
    this.#scroller.scrollTop = 0;
  }

  /** Bring the row into view and give it the focus. */
  focus(index) {
    const item = this.#listing?.items[index];
    if (!item) return;
    this.reveal(index);
    this.cursor = String(item.id);
    this.#draw();
    this.#shown.get(String(item.id))?.querySelector("a")?.focus({ preventScroll: true });
  }

  reveal(index) {
    const top = index * this.#height;
    const view = this.#scroller.clientHeight;
    if (top < this.#scroller.scrollTop) this.#scroller.scrollTop = top;
    else if (top + this.#height > this.#scroller.scrollTop + view) this.#scroller.scrollTop = top + this.#height - view;
  }

  /** Bring the row into view with the next drawing, which gives the list its length. */
  revealSoon(index) {
    this.#revealed = index;
    this.draw();
  }

  cursorIndex() {
    return this.#listing ? this.#listing.items.findIndex((item) => String(item.id) === this.cursor) : -1;
  }

  #setCursor(id) {
    this.cursor = id;
    for (const [key, element] of this.#shown) {
      const target = element.querySelector("a");
      if (target) target.tabIndex = key === id ? 0 : -1;
    }
  }

  #clear() {
    for (const element of this.#shown.values()) element.remove();
    this.#shown.clear();
  }

  #draw() {
    const listing = this.#listing;
    if (!listing) return;
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    this.#height = parseFloat(getComputedStyle(this.#canvas).getPropertyValue("--row")) * rem || 76;
    const count = listing.state === "loading" ? 12 : listing.state === "error" ? 0 : listing.total;
    this.#canvas.style.height = `${count * this.#height}px`;
    if (this.#revealed !== null) this.reveal(this.#revealed);
    this.#revealed = null;
    const first = Math.max(0, Math.floor(this.#scroller.scrollTop / this.#height) - MARGIN);
    const end = Math.min(count, Math.ceil((this.#scroller.scrollTop + this.#scroller.clientHeight) / this.#height) + MARGIN);
    const cursorIndex = this.cursorIndex();
    const wanted = new Map();
    for (let index = first; index < end; index += 1) wanted.set(this.#keyAt(index), index);
    if (cursorIndex >= 0) wanted.set(this.cursor, cursorIndex); // it may have the focus
    const focusable = cursorIndex >= 0 ? this.cursor : this.#keyAt(Math.max(0, Math.ceil(this.#scroller.scrollTop / this.#height)));

    for (const [key, element] of this.#shown) {
      if (wanted.has(key)) continue;
      element.remove();
      this.#shown.delete(key);
    }
    let next = null;
    for (const [key, index] of [...wanted].sort((one, other) => other[1] - one[1])) {
      const element = this.#element(key, listing.items[index]);
      if (element.parentNode !== this.#canvas) this.#canvas.insertBefore(element, next);
      next = element;
      element.style.transform = `translateY(${index * this.#height}px)`;
      element.setAttribute("aria-setsize", count);
      element.setAttribute("aria-posinset", index + 1);
      const target = element.querySelector("a");
      if (target) target.tabIndex = key === focusable ? 0 : -1;
    }
    if (listing.state === "ready" && end > listing.items.length - 2 * MARGIN && listing.items.length < listing.total) {
      listing.more(end + 4 * MARGIN);
    }
  }

  #keyAt(index) {
    const item = this.#listing.items[index];
    return item ? String(item.id) : `ghost ${index}`;
  }

  #element(key, item) {
    const old = this.#shown.get(key);
    if (old && (item === undefined || ("stale" in old.dataset === false && this.#make.isSame(old, item)))) return old;
    const element = item === undefined ? this.#make.ghost() : this.#make.row(item);
    if (item !== undefined) element.dataset.id = key;
    this.#shown.set(key, element);
    if (old) {
      const hadFocus = old.contains(document.activeElement) ? document.activeElement.localName : null;
      old.replaceWith(element);
      if (hadFocus) element.querySelector(hadFocus)?.focus({ preventScroll: true });
    }
    return element;
  }
}
