// The tracking snippet, served as /track.js: tells the service what visitors do on a site's pages.
// docs/tracking.md says how it is put into a page; tracking.schema.json what an event looks like.
//
// Nothing is stored or sent before the visitor agreed, nor ever where the browser says not to track.
// Events wait in localStorage, each under a key of its own, until the service has acknowledged them;
// so they survive a lost connection and the end of the page. Sent twice, an event counts once.

interface Fields {
  event: string;
  item?: string;
  [field: string]: unknown;
}
interface Consent {
  track: boolean;
  [purpose: string]: unknown;
}
type Sent = Record<string, unknown>;

const BATCH = 50; // events in a request: far below the 64 KiB that may go out while a page closes
const MOST = 500; // events that wait; beyond that, no more are kept
const WAIT = 2_000; // milliseconds in which events gather
const LONGEST = 60_000; // milliseconds between two tries
const SEEN = 1_000; // milliseconds that half of an item must be visible
const PREFIX = "ng-event:";
const KINDS: Record<string, string> = { page_view: "view", add_to_list: "add" }; // others keep their name
const GA4: Record<string, string> = {
  view_item: "page_view",
  select_item: "click",
  add_to_wishlist: "add_to_list",
  add_to_cart: "add_to_list",
  purchase: "purchase",
  search: "search",
  view_search_results: "search",
};

const root = document.documentElement;
const script = document.currentScript as HTMLScriptElement;
const { key, subject } = script.dataset;
const service = script.dataset.service ?? new URL(script.src).origin;
const box = storage("localStorage");
const tab = storage("sessionStorage");
let user = script.dataset.user;
let pageItem = script.dataset.item;
let consent = stated(script.dataset.consent ?? box["ng-consent"]);
let early: Fields[] = []; // what happened before the visitor was asked
let timer = 0;
let failures = 0;
let notBefore = 0; // when the service may be asked again
const flying = new Set<string>(); // what was sent, and is not answered yet
let deepest = 0;
const plays = new Map<HTMLMediaElement, string>();
const impressed = new Set<string>();

/** What the browser keeps; it holds for this page where it keeps nothing. */
function storage(name: "localStorage" | "sessionStorage"): Record<string, string> {
  try {
    const given = window[name];
    given["ng-try"] = "1"; // full, or forbidden?
    delete given["ng-try"];
    return given;
  } catch {
    return {};
  }
}

function stated(text?: string): Consent | null {
  if (text === "granted" || text === "denied") return { track: text === "granted" };
  try {
    return JSON.parse(text!);
  } catch {
    return null;
  }
}

function forbidden(): boolean {
  const browser = navigator as Navigator & { globalPrivacyControl?: boolean };
  return navigator.doNotTrack === "1" || !!browser.globalPrivacyControl || (!!consent && !consent.track);
}

function random(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16)); // randomUUID is missing without https
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Take one event, as the schema describes it; `id`, `at`, context and consent are added. */
function track(fields: Fields): void {
  if (forbidden()) return;
  if (!consent) {
    if (early.length < MOST) early.push({ at: Date.now(), ...fields });
    return;
  }
  const event: Fields = {
    id: random(),
    at: Date.now(),
    ...(user && { user }),
    session: (tab["ng-session"] ??= random()),
    context: {
      page: location.origin + location.pathname, // no query: it may hold secrets
      title: document.title,
      referrer: document.referrer && new URL(document.referrer).origin,
      language: navigator.language,
    },
    consent,
    ...fields,
  };
  document.dispatchEvent(new CustomEvent("nichegraph:event", { detail: event }));
  const sent = mapped(event);
  if (!sent || names().length >= MOST) return;
  try {
    box[PREFIX + event.id] = JSON.stringify(sent);
  } catch {
    return; // no room is left
  }
  later(WAIT);
}

/** The fields of POST /v1/events; null: the service has no use for an event that names no item. */
function mapped(event: Fields): Sent | null {
  const { item, request_id, position } = event;
  const kind = KINDS[event.event] ?? event.event;
  if (item === undefined || (kind === "impression" && !request_id)) return null;
  const about = { user: event.user, session: event.session, item, kind, at: event.at };
  if (request_id && (kind === "click" || kind === "impression")) return { ...about, request_id, position };
  const value = event.share ?? event.depth ?? event.quantity ?? event.value;
  return { ...about, event_id: event.id, value };
}

function names(): string[] {
  return Object.keys(box).filter((name) => name.startsWith(PREFIX));
}

function forget(listed: string[]): void {
  for (const name of listed) delete box[name];
}

function later(milliseconds: number): void {
  timer ||= window.setTimeout(() => {
    timer = 0;
    void flush();
  }, Math.max(milliseconds, notBefore - Date.now()));
}

/** Send what waits. What the service took or refused is forgotten; anything else is sent again. */
async function flush(ending = false): Promise<void> {
  if (forbidden()) return forget(names());
  const batch = names().filter((name) => !flying.has(name)).slice(0, BATCH);
  if (!consent || !batch.length || (!ending && (flying.size || !navigator.onLine))) return;
  const body = `{"events":[${batch.map((name) => box[name]).filter(Boolean)}]}`;
  const type = "application/json";
  const headers = {
    "Content-Type": type,
    ...(key && { Authorization: `Bearer ${key}` }),
    ...(subject && { "X-Subject": subject }),
  };
  let pause = 0;
  batch.forEach((name) => flying.add(name));
  try {
    if (ending && !key && !("keepalive" in Request.prototype)) {
      navigator.sendBeacon(`${service}/v1/events`, new Blob([body], { type }));
      return; // whether it arrived is not known, so it stays, and counts once if it is sent again
    }
    const answer = await fetch(`${service}/v1/events`, { method: "POST", headers, body, keepalive: true });
    if (answer.ok || answer.status === 400) forget(batch);
    else pause = Number(answer.headers.get("Retry-After")) * 1000 || -1;
  } catch {
    pause = -1; // nobody answered
  } finally {
    batch.forEach((name) => flying.delete(name));
  }
  failures = pause ? failures + 1 : 0;
  notBefore = Date.now() + (pause < 0 ? Math.min(LONGEST, WAIT * 2 ** failures) : pause);
  if (names().length) later(pause ? 0 : WAIT);
}

function setConsent(given: Consent | "granted" | "denied"): void {
  consent = typeof given === "string" ? stated(given) : given;
  const waiting = early;
  early = [];
  box["ng-consent"] = JSON.stringify(consent);
  if (forbidden()) {
    forget(names());
    delete tab["ng-session"];
  } else waiting.forEach(track);
}

/** Who the visitor is, from now on; nobody in particular after they sign out. */
function identify(id?: string): void {
  user = id;
  if (!id) delete tab["ng-session"]; // whoever comes next is somebody else
}

/** The page is about an item; for sites that change pages without loading them. */
function page(item?: string): void {
  leave();
  pageItem = item;
  track({ event: "page_view", ...(item !== undefined && { item }) });
}

function hundredths(share: number): number {
  return Math.round(share * 100) / 100;
}

function scrolled(): void {
  deepest = Math.max(deepest, Math.min(1, (scrollY + innerHeight) / root.scrollHeight));
}

function leave(): void {
  for (const media of plays.keys()) played(media);
  if (pageItem !== undefined && deepest) {
    track({ event: "scroll", item: pageItem, depth: hundredths(deepest) });
  }
  deepest = 0;
}

/** How much of a recording was played; told once, at its end or that of the page. */
function played(media: HTMLMediaElement): void {
  const item = plays.get(media);
  plays.delete(media);
  let seconds = 0;
  for (let n = 0; n < media.played.length; n++) seconds += media.played.end(n) - media.played.start(n);
  const share = hundredths(Math.min(1, seconds / media.duration));
  if (item !== undefined && share > 0) track({ event: "play", item, share });
}

function about(element: Element): Fields | null {
  const marked = element.closest<HTMLElement>("[data-ng-item]");
  if (!marked) return null;
  const request_id = marked.closest<HTMLElement>("[data-ng-request]")?.dataset.ngRequest;
  const position = Number(marked.dataset.ngPosition) || undefined;
  return { event: "click", item: marked.dataset.ngItem, ...(request_id && { request_id, position }) };
}

const timers = new Map<Element, number>();
const visible = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      clearTimeout(timers.get(target));
      if (!isIntersecting) continue;
      timers.set(target, window.setTimeout(() => {
        const seen = about(target);
        const once = `${seen?.request_id} ${seen?.item}`;
        if (!seen?.request_id || impressed.has(once)) return;
        impressed.add(once);
        visible.unobserve(target);
        track({ ...seen, event: "impression" });
      }, SEEN));
    }
  },
  { threshold: 0.5 },
);

function observe(): void {
  document.querySelectorAll("[data-ng-request] [data-ng-item]").forEach((item) => visible.observe(item));
}

/** An entry of a dataLayer, as sites write them for Google Analytics 4. */
function heard(entry: any): void {
  const [name, parameters] = entry?.[0] === "event" ? [entry[1], entry[2]] : [entry?.event, entry?.ecommerce ?? entry];
  const event = GA4[name];
  if (!event) return;
  const query = parameters?.search_term;
  if (event === "search") return track({ event, query });
  for (const { item_id, quantity } of parameters?.items ?? []) {
    if (item_id) track({ event, item: String(item_id), ...(event === "purchase" && { quantity: quantity ?? 1 }) });
  }
}

function on(name: string, heard: (event: Event) => void): void {
  addEventListener(name, heard, { capture: true, passive: true }); // capture: media events do not bubble
}

function begin(): void {
  on("scroll", scrolled);
  on("click", ({ target }) => {
    const clicked = target instanceof Element && about(target);
    if (clicked) track(clicked);
  });
  on("submit", ({ target }) => {
    const form = target as HTMLFormElement;
    track({ ...about(form), event: "form", form: form.getAttribute("name") ?? form.id }); // never what was typed
  });
  on("play", ({ target }) => {
    const item = about(target as Element)?.item ?? pageItem;
    if (item) plays.set(target as HTMLMediaElement, item);
  });
  on("ended", ({ target }) => played(target as HTMLMediaElement));
  on("online", () => void flush());
  on("pagehide", () => {
    leave();
    void flush(true);
  });
  on("visibilitychange", () => {
    if (document.hidden) void flush(true);
  });
  new MutationObserver(observe).observe(root, { childList: true, subtree: true });
  observe();
  const layer = ((window as any).dataLayer ??= []);
  layer.forEach(heard);
  const push = layer.push;
  layer.push = (...entries: unknown[]) => {
    entries.forEach(heard);
    return push.apply(layer, entries);
  };
  page(pageItem);
  later(0); // what waited since the last visit
}

(window as any).nichegraph = {
  track,
  page,
  flush,
  consent: setConsent,
  user: identify,
  identify, // as other trackers call it
};
if (forbidden()) forget(names());
begin();
