// A list that the server has: the pages of it that are here, newest first, and how to keep them true.
// Knows items with an `id`; does not know what they are, or how they are shown.

const PAGE = 100;
const FAR_PAGE = 200;
const CATCH_UP_PAGES = 5;

/**
 * Emits "change" whenever something that is shown may differ. `fetchPage({before, limit, signal})` gives {items, total, unread};
 * where the server does not count, without a total: then there is one more item than are here, until a page is not full.
 */
export class Listing extends EventTarget {
  items = [];
  total = 0;
  unread = 0;
  state = "loading"; // or "ready", "error"
  error = null;
  #fetchPage;
  #aborter = new AbortController();
  #turn = Promise.resolve();
  #isLoadingMore = false;

  constructor(fetchPage) {
    super();
    this.#fetchPage = fetchPage;
  }

  /** Nothing is fetched any more; what is on its way is forgotten. */
  close() {
    this.#aborter.abort();
  }

  indexOf(id) {
    return this.items.findIndex((item) => item.id === id);
  }

  load() {
    return this.#inTurn(async () => {
      const page = await this.#page({ limit: PAGE });
      this.items = page.items;
      this.#ready(page, page.items.length === PAGE);
    });
  }

  /** Fetch on, until there are `count` items or no more. */
  async more(count = this.items.length + PAGE) {
    if (this.#isLoadingMore || this.state !== "ready") return;
    this.#isLoadingMore = true;
    await this.#inTurn(async () => {
      while (this.items.length < Math.min(count, this.total)) {
        const limit = count - this.items.length > FAR_PAGE ? FAR_PAGE : PAGE;
        const page = await this.#page({ limit, before: this.items.at(-1)?.id });
        const known = new Set(this.items.map((item) => item.id));
        const items = page.items.filter((item) => !known.has(item.id));
        this.items = this.items.concat(items);
        if (items.length === 0) page.total = this.items.length;
        this.#ready(page, page.items.length === limit);
      }
    });
    this.#isLoadingMore = false;
  }

  /** Fetch what is new, some pages of it at most, and put it before what is here. Gives the new items. */
  sync(pages = CATCH_UP_PAGES) {
    return this.#inTurn(async () => {
      const hasMore = this.total > this.items.length;
      const known = new Map(this.items.map((item, index) => [item.id, index]));
      let fresh = [];
      let page;
      for (let count = 0; count < pages; count += 1) {
        page = await this.#page({ limit: PAGE, before: fresh.at(-1)?.id });
        fresh = fresh.concat(page.items);
        if (page.items.length < PAGE || page.items.some((item) => known.has(item.id))) break;
      }
      const met = fresh.findIndex((item) => known.has(item.id));
      const added = met < 0 ? fresh : fresh.slice(0, met); // what is below those that are known has not come, but moved up
      const last = fresh.findLast((item) => known.has(item.id));
      const isWhole = page.items.length < PAGE;
      // Where nothing meets, too much has come to be put in between: the list starts anew.
      this.items = isWhole || last === undefined ? fresh : fresh.concat(this.items.slice(known.get(last.id) + 1));
      this.#ready(page, (hasMore || last === undefined) && !isWhole);
      return known.size === 0 && this.items.length === added.length ? added.slice(0, PAGE) : added;
    });
  }

  /** Items change in place: `change(item)` gives the new one. */
  update(ids, change) {
    const set = new Set(ids);
    if (!this.items.some((item) => set.has(item.id))) return;
    this.items = this.items.map((item) => (set.has(item.id) ? change(item) : item));
    this.#emit();
  }

  remove(ids) {
    const set = new Set(ids);
    const gone = this.items.filter((item) => set.has(item.id));
    if (gone.length === 0) return;
    this.items = this.items.filter((item) => !set.has(item.id));
    this.total = Math.max(0, this.total - gone.length);
    this.unread = Math.max(0, this.unread - gone.filter((item) => item.is_read === false).length);
    this.#emit();
  }

  #page(options) {
    return this.#fetchPage({ ...options, signal: this.#aborter.signal });
  }

  #ready(page, hasMore) {
    this.total = Math.max(page.total ?? this.items.length + (hasMore ? 1 : 0), this.items.length);
    this.unread = page.unread ?? 0;
    this.state = "ready";
    this.error = null;
    this.#emit();
  }

  #emit() {
    if (!this.#aborter.signal.aborted) this.dispatchEvent(new Event("change"));
  }

  /** One at a time, or two pages could end up in the wrong order. */
  #inTurn(doing) {
    const result = this.#turn.then(doing).catch((error) => {
      if (error.name === "AbortError") return [];
      this.error = error;
      if (this.state !== "ready" || error.status === 400) this.state = "error";
      this.#emit();
      return [];
    });
    this.#turn = result;
    return result;
  }
}
