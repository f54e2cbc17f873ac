// Where the reader is: #/view?name=value, so that every state has a link and Back works.

export interface Address {
  view: string;
  params: URLSearchParams;
}

export function here(): Address {
  const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?", 2);
  return { view: path, params: new URLSearchParams(query) };
}

export function link(view: string, params: Record<string, string | string[]> = {}): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    for (const own of Array.isArray(value) ? value : [value]) if (own) search.append(name, own);
  }
  return search.size ? `#/${view}?${search}` : `#/${view}`;
}

/** Remember the state of the view that is open, without drawing it again. */
export function remember(view: string, params: Record<string, string | string[]>): void {
  history.replaceState(null, "", link(view, params));
}
