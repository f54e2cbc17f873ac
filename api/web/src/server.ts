// Asking the server: typed by its OpenAPI document, errors as it words them.

import type { paths } from "./schema";

type Routes<M extends string> = {
  [P in keyof paths]: paths[P] extends { [K in M]: infer O } ? (O extends undefined ? never : P) : never;
}[keyof paths];
type Answer<P extends keyof paths, M extends "get" | "post" | "put" | "delete"> = paths[P][M] extends {
  responses: { 200: { content: { "application/json": infer T } } };
}
  ? T
  : never;
type Values = Record<string, string | number | boolean | string[] | undefined | null>;

/** What went wrong, as a sentence for whoever reads the page. */
export class Problem extends Error {
  constructor(
    readonly status: number, // 0: there was no answer
    detail: string,
    readonly fields: { field: string; message: string }[] = [],
  ) {
    super(detail);
  }
}

const KEY = "nichegraph-key";

/** The API key of this browser tab; it is forgotten with the tab. */
export function key(): string {
  return sessionStorage.getItem(KEY) ?? "";
}

export function setKey(value: string): void {
  if (value) sessionStorage.setItem(KEY, value);
  else sessionStorage.removeItem(KEY);
}

/** The answer of a route; `inPath` fills its {names}, `query` what follows the question mark. */
export async function get<P extends Routes<"get">>(
  path: P,
  inPath: Record<string, string> = {},
  query: Values = {},
  signal?: AbortSignal,
): Promise<Answer<P, "get">> {
  return json(await asked(address(path, inPath, query), { signal }));
}

export async function post<P extends Routes<"post">>(
  path: P,
  body: unknown,
  signal?: AbortSignal,
): Promise<Answer<P, "post">> {
  return postTo(path, {}, body, signal);
}

/** The same for a route with {names}. */
export async function postTo<P extends Routes<"post">>(
  path: P,
  inPath: Record<string, string>,
  body: unknown,
  signal?: AbortSignal,
): Promise<Answer<P, "post">> {
  return json(
    await asked(address(path, inPath, {}), {
      method: "POST",
      body: JSON.stringify(body),
      headers: { "Content-Type": "application/json" },
      signal,
    }),
  );
}

/** Change something: PUT with a body, or DELETE. */
export async function change<M extends "put" | "delete", P extends Routes<M>>(
  method: M,
  path: P,
  inPath: Record<string, string> = {},
  body?: unknown,
): Promise<Answer<P, M>> {
  const sent = body === undefined ? {} : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  return json(await asked(address(path, inPath, {}), { method: method.toUpperCase(), ...sent }));
}

/** A page of the server, as a file of this browser: a link cannot send a key. */
export async function page(path: Routes<"get">, inPath: Record<string, string>): Promise<Blob> {
  return (await asked(address(path, inPath, {}), {})).blob();
}

/** The text of an address that is not in the OpenAPI document. */
export async function plain(path: string, signal?: AbortSignal): Promise<string> {
  return (await asked(path, { signal })).text();
}

/** The bytes of a route. */
export async function bytes(path: Routes<"get">, query: Values = {}, signal?: AbortSignal): Promise<ArrayBuffer> {
  return (await asked(address(path, {}, query), { signal })).arrayBuffer();
}

/** What to say of anything that was thrown; nothing for a question that was taken back. */
export function words(error: unknown): string | null {
  if (error instanceof DOMException && error.name === "AbortError") return null;
  if (error instanceof Problem) return error.message;
  throw error;
}

function address(path: string, inPath: Record<string, string>, query: Values): string {
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(inPath[name] ?? ""));
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined || value === null || value === "") continue;
    for (const own of Array.isArray(value) ? value : [String(value)]) search.append(name, own);
  }
  return search.size ? `${filled}?${search}` : filled;
}

async function asked(url: string, init: RequestInit & { headers?: Record<string, string> }): Promise<Response> {
  const headers: Record<string, string> = { ...init.headers };
  if (key()) headers.Authorization = `Bearer ${key()}`;
  let response: Response;
  try {
    // Relative to the page, which a proxy may serve under a prefix.
    response = await fetch(url.slice(1), { ...init, headers, credentials: "omit" });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Problem(0, "The server does not answer. Is it still running?");
  }
  if (response.ok) return response;
  throw await problem(response);
}

async function json<T>(response: Response): Promise<T> {
  return (await response.json()) as T;
}

async function problem(response: Response): Promise<Problem> {
  try {
    const problem = await response.json();
    return new Problem(response.status, String(problem.detail ?? problem.title), problem.errors ?? []);
  } catch {
    return new Problem(response.status, `The server answered ${response.status} ${response.statusText}.`);
  }
}
