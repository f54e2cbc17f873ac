// The client: a method for each operation of the OpenAPI document, named like it. The compiler holds
// every route, parameter and body to the document, as `schema.d.ts` is made from it.

import { Malformed, Problem, Unreachable } from "./errors.js";
import { pauseAfter, USUAL } from "./retries.js";
import type { Retries } from "./retries.js";
import type { components, paths } from "./schema.js";

type Method = "get" | "post" | "put" | "patch" | "delete";
type Json<T> = { content: { "application/json": T } };
type Answer<O> = O extends { responses: { 200: Json<infer T> } }
  ? T
  : O extends { responses: { 202: Json<infer T> } }
    ? T
    : never;
type Body<O> = O extends { requestBody: Json<infer T> } ? T : undefined;
type InPath<O> = O extends { parameters: { path: infer T } } ? T : undefined;
type Asked<O> = O extends { parameters: { query?: infer T } } ? T : undefined;
type Query<O> = "filter" extends keyof Asked<O>
  ? Omit<Asked<O>, "filter"> & { filter?: Filter }
  : Asked<O>;
type Sent<O> = {
  path: InPath<O>;
  query?: Query<O>;
  body?: Body<O>;
  headers?: Record<string, string>;
  keepalive?: boolean;
};
type Schemas = components["schemas"];

/** What a list may hold, see docs/requests.md. */
export type Filter = Record<string, unknown>;
export type Subject = Schemas["Subject"];
export type UserChoice = Query<paths["/v1/users/{user}/recommendations"]["get"]>;
export type Choice = Query<paths["/v1/popular"]["get"]>;
/** One thing that somebody did to an item: `user` or `session` says who. */
export type Event = Omit<Schemas["EventsBody"], "events" | "atomic">;

export interface Options {
  /** An API key; needed where the service has keys. */
  key?: string;
  /** A signed subject, or a function that makes a fresh one for each request. */
  subject?: string | (() => string | Promise<string>);
  /** Milliseconds that one try may take. */
  timeout?: number;
  retries?: Partial<Retries>;
  /** How the service is reached; for tests. */
  fetch?: typeof fetch;
}

export class Client {
  readonly #address: string;
  readonly #options: Options;
  readonly #retries: Retries;

  /** `address` is such as `https://shop.example/recommend`; routes are appended to it. */
  constructor(address: string, options: Options = {}) {
    this.#address = address.replace(/\/+$/, "");
    this.#options = options;
    this.#retries = { ...USUAL, ...options.retries };
  }

  /** A list for a user. */
  recommend(user: string, query: UserChoice = {}) {
    return this.#ask("get", "/v1/users/{user}/recommendations", { path: { user }, query });
  }

  /** Lists for up to 1,000 subjects. */
  recommendToMany(subjects: Subject[]) {
    return this.#ask("post", "/v1/recommendations", { path: undefined, body: { subjects } });
  }

  /** Why an item is, or would be, shown. */
  explain(user: string, item: string) {
    const path = { user, item };
    return this.#ask("get", "/v1/users/{user}/recommendations/{item}/why", { path });
  }

  /** Items similar to an item. */
  similarItems(item: string, query: Choice = {}) {
    return this.#ask("get", "/v1/items/{item}/similar", { path: { item }, query });
  }

  /** Items similar to one that the catalogue does not have yet. */
  similarToNewItem(body: Schemas["NewItemBody"]) {
    return this.#ask("post", "/v1/items/similar", { path: undefined, body });
  }

  /** Items that carry a tag. */
  tagItems(name: string, query: Choice = {}) {
    return this.#ask("get", "/v1/tags/items", { path: undefined, query: { ...query, name } });
  }

  /** What many chose. */
  popularItems(query: Choice = {}) {
    return this.#ask("get", "/v1/popular", { path: undefined, query });
  }

  /** The newest items. */
  latestItems(query: Query<paths["/v1/latest"]["get"]> = {}) {
    return this.#ask("get", "/v1/latest", { path: undefined, query });
  }

  /** What more people choose lately than before. */
  trendingItems(query: Query<paths["/v1/trending"]["get"]> = {}) {
    return this.#ask("get", "/v1/trending", { path: undefined, query });
  }

  /** Tags whose items more people choose lately than before. */
  risingTags(query: Query<paths["/v1/trending/tags"]["get"]> = {}) {
    return this.#ask("get", "/v1/trending/tags", { path: undefined, query });
  }

  /** Items, tags and users by what somebody types. */
  search(q: string, query: Omit<Query<paths["/v1/search"]["get"]>, "q"> = {}) {
    return this.#ask("get", "/v1/search", { path: undefined, query: { ...query, q } });
  }

  /** One thing that a user did to an item. */
  track(user: string, item: string, kind = "view", more: Partial<Event> & { keepalive?: boolean } = {}) {
    const { keepalive, ...fields } = more;
    return this.events([{ ...fields, user, item, kind }], { keepalive });
  }

  /** What users did. An event without an `event_id` is given one, so that it counts once. */
  events(entries: Event[], how: { atomic?: boolean; keepalive?: boolean } = {}) {
    const events = entries.map((entry) => ({ event_id: uuid(), ...entry }));
    return this.#ask("post", "/v1/events", {
      path: undefined,
      body: { events, ...(how.atomic && { atomic: true }) },
      keepalive: how.keepalive, // let it go out while the page closes
    });
  }

  /** Put up to 10,000 items, each with its `id`. */
  postItems(items: NonNullable<Schemas["ItemsBody"]["items"]>, atomic = false) {
    const headers = { "Idempotency-Key": uuid() };
    return this.#ask("post", "/v1/items", { path: undefined, body: { items, atomic }, headers });
  }

  /** Put a whole item; fields that are not named are emptied. */
  putItem(item: string, body: Schemas["ItemBody"]) {
    return this.#ask("put", "/v1/items/{item}", { path: { item }, body });
  }

  /** Change some fields of an item; null removes a value. */
  patchItem(item: string, body: { [F in keyof Schemas["ItemBody"]]: Schemas["ItemBody"][F] | null }) {
    return this.#ask("patch", "/v1/items/{item}", { path: { item }, body: body as Schemas["ItemBody"] });
  }

  /** Remove an item. */
  deleteItem(item: string) {
    return this.#ask("delete", "/v1/items/{item}", { path: { item } });
  }

  /** What is known about an item. */
  getItem(item: string) {
    return this.#ask("get", "/v1/items/{item}", { path: { item } });
  }

  /** Put what a user says about themselves. */
  putUser(user: string, attributes: Record<string, unknown>) {
    return this.#ask("put", "/v1/users/{user}", { path: { user }, body: { attributes } });
  }

  /** Tell under which id a user was known before, such as that of a session. */
  postAlias(user: string, anonymous: string) {
    return this.#ask("post", "/v1/users/{user}/alias", { path: { user }, body: { anonymous } });
  }

  /** What is known about a user. */
  getUser(user: string) {
    return this.#ask("get", "/v1/users/{user}", { path: { user } });
  }

  /** Set what a user agrees to; what is left out stays as it was. */
  putConsent(user: string, body: Schemas["ConsentBody"]) {
    return this.#ask("put", "/v1/users/{user}/consent", { path: { user }, body });
  }

  /** Everything that is known about a user; answered on the service's own machine only. */
  getData(user: string) {
    return this.#ask("get", "/v1/users/{user}/data", { path: { user } });
  }

  /** Forget a user, everywhere. */
  deleteUser(user: string) {
    return this.#ask("delete", "/v1/users/{user}", { path: { user } });
  }

  /** Which places an erasure has reached. */
  getErasure(sequence: number) {
    return this.#ask("get", "/v1/erasures/{sequence}", { path: { sequence } });
  }

  /** How users are grouped; with a user, which groups they are in. */
  getSegments(user?: string) {
    return this.#ask("get", "/v1/segments", { path: undefined, query: { user } });
  }

  /** What the most similar users have in common; off unless the service has it switched on. */
  getSimilarUsers(user: string, n?: number) {
    return this.#ask("get", "/v1/users/{user}/similar", { path: { user }, query: { n } });
  }

  /** The rows of a query that only reads; needs the service's console switched on. */
  runCypher(query: string, parameters: Record<string, unknown> = {}) {
    return this.#ask("post", "/v1/cypher", { path: undefined, body: { query, parameters } });
  }

  /** The published releases. */
  getReleases() {
    return this.#ask("get", "/v1/releases", { path: undefined });
  }

  /** Whether the process runs. */
  isLive() {
    return this.#ask("get", "/live", { path: undefined });
  }

  /** Whether a release is served, and how the inbox is; a Problem 503 where none is. */
  isReady() {
    return this.#ask("get", "/ready", { path: undefined });
  }

  async #ask<P extends keyof paths, M extends Method>(
    method: M,
    route: P,
    sent: Sent<paths[P][M]>,
  ): Promise<Answer<paths[P][M]>> {
    const address = this.#address + path(route, sent.path ?? {}) + query(sent.query ?? {});
    const body = sent.body === undefined ? undefined : JSON.stringify(sent.body);
    for (let tried = 1; ; tried++) {
      const headers = await this.#headers(body !== undefined, sent.headers);
      let answer: Response | null = null;
      let text = "";
      let cause: unknown;
      try {
        answer = await (this.#options.fetch ?? fetch)(address, {
          method: method.toUpperCase(),
          headers,
          body,
          keepalive: sent.keepalive,
          signal: AbortSignal.timeout(this.#options.timeout ?? 10_000),
        });
        text = await answer.text();
      } catch (error) {
        answer = null; // no connection, or cut off
        cause = error;
      }
      const pause = pauseAfter(this.#retries, answer, tried);
      if (pause !== null) {
        await new Promise((done) => setTimeout(done, pause));
        continue;
      }
      if (!answer) throw new Unreachable(`${this.#address} does not answer: ${cause}`, { cause });
      if (!answer.ok) throw new Problem(answer.status, text);
      try {
        return JSON.parse(text);
      } catch {
        throw new Malformed(`the answer to ${method} ${route} is not JSON`);
      }
    }
  }

  async #headers(withBody: boolean, more: Record<string, string> = {}): Promise<Record<string, string>> {
    const { key, subject } = this.#options;
    return {
      Accept: "application/json",
      ...(withBody && { "Content-Type": "application/json" }),
      ...(key && { Authorization: `Bearer ${key}` }),
      ...(subject && { "X-Subject": typeof subject === "string" ? subject : await subject() }),
      ...more,
    };
  }
}

function path(route: string, names: object): string {
  return route.replace(/\{(\w+)\}/g, (_, name: string) => {
    const id = String((names as Record<string, unknown>)[name]);
    // Every browser takes them, even percent-encoded, for steps of the path.
    if (id === "." || id === "..") throw new RangeError(`${name}: ${id} cannot stand in an address`);
    return encodeURIComponent(id);
  });
}

function query(values: object): string {
  const pairs = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    for (const entry of Array.isArray(value) ? value : [value]) {
      if (entry === undefined || entry === null) continue;
      pairs.append(name, typeof entry === "object" ? JSON.stringify(entry) : String(entry));
    }
  }
  return pairs.size ? `?${pairs}` : "";
}

/** A random id; randomUUID is missing where a page does not come over https. */
function uuid(): string {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");
}
