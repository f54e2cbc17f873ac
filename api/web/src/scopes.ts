// What the key may do: the page shows nothing else.

import { get, words } from "./server";

let scopes: string[] | null = null; // null: not known, as without a server; the views say what is wrong

/** Whether the key that is used here has a scope. */
export function may(scope: string): boolean {
  return scopes === null || scopes.includes(scope);
}

export async function askScopes(): Promise<void> {
  try {
    ({ scopes } = await get("/v1/access"));
  } catch (error) {
    words(error);
  }
}
