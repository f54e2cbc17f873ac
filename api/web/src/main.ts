// The shell: the bar, signing in, and which view is open.

import { fresh, h, replace } from "./dom";
import { here, link } from "./address";
import { askScopes, may } from "./scopes";
import { get, key, Problem, setKey, words } from "./server";
import { restore, toggle } from "./theme";
import { notice } from "./parts";

/** Draws into `box`; `signal` ends when the reader goes elsewhere. */
export type View = (box: HTMLElement, params: URLSearchParams, signal: AbortSignal) => Promise<void> | void;

const VIEWS: Record<string, { title: string; scopes: string[]; open: () => Promise<View> }> = {
  explore: { title: "Explore", scopes: ["explore"], open: async () => (await import("./explore")).explore },
  recommend: { title: "Recommend", scopes: ["recommend"], open: async () => (await import("./recommend")).recommend },
  segments: { title: "Segments", scopes: ["explore", "admin"], open: async () => (await import("./segments")).segments },
  console: { title: "Console", scopes: ["explore"], open: async () => (await import("./console")).cypherConsole },
  operate: { title: "Operate", scopes: ["admin", "explore"], open: async () => (await import("./operate")).operate },
};
const FIRST = "recommend";

const hidden = new Set(["console"]); // until the server says that it is on

let leaving = new AbortController();

function start(): void {
  restore();
  const main = h("main", { id: "main", tabindex: "-1" });
  const bar = h("nav", { "aria-label": "Views", class: "views" });
  const state = h("p", { class: "state", role: "status" });
  document.body.append(
    h("a", { class: "skip", href: "#main", onclick: (event: Event) => (event.preventDefault(), main.focus()) }, "Skip to content"),
    h("header", { class: "bar" }, h("a", { class: "name", href: link(FIRST) }, "nichegraph"), bar, tools()),
    state,
    main,
  );
  addEventListener("hashchange", () => show(main, bar));
  void tellState(state);
  void askScopes().then(() => {
    show(main, bar);
    return tellConsole(bar);
  });
}

function show(main: HTMLElement, bar: HTMLElement): void {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const { view, params } = here();
  const name = VIEWS[view] ? view : first();
  drawBar(bar, name);
  const { title, open } = VIEWS[name]!;
  document.title = `${title} · nichegraph`;
  const box = h("div", { class: `view ${name}` });
  replace(main, box);
  open()
    .then((draw) => (signal.aborted ? undefined : draw(box, params, signal)))
    .catch((error: unknown) => {
      const message = words(error);
      if (message) replace(box, h("h1", {}, title), notice(message));
    });
}

/** The view that opens by itself: lists, if the key may ask for them. */
function first(): string {
  return [FIRST, ...Object.keys(VIEWS)].find((id) => VIEWS[id]!.scopes.some(may)) ?? FIRST;
}

function drawBar(bar: HTMLElement, name: string): void {
  replace(
    bar,
    Object.entries(VIEWS).filter(([id, view]) => !hidden.has(id) && view.scopes.some(may)).map(([id, { title }]) =>
      h("a", { href: link(id), "aria-current": id === name && "page" }, title),
    ),
  );
}

/** The console is shown where it may be asked. */
async function tellConsole(bar: HTMLElement): Promise<void> {
  try {
    await get("/v1/cypher/questions");
    hidden.delete("console");
    drawBar(bar, VIEWS[here().view] ? here().view : first());
  } catch (error) {
    words(error);
  }
}

/** What holds for the whole page: no release yet, or a newer one that is not served. */
async function tellState(state: HTMLElement): Promise<void> {
  try {
    const ready = await get("/ready");
    state.textContent = [ready.problem, ...ready.notes].filter(Boolean).join(" ");
  } catch (error) {
    if (error instanceof Problem) state.textContent = error.message;
    else throw error;
  }
}

function tools(): HTMLElement {
  const dialog = signIn();
  const docs = h("a", { class: "quiet", href: "docs/", hidden: true }, "Docs");
  void fetch("docs/", { method: "HEAD" }).then((answer) => (docs.hidden = !answer.ok), () => {});
  return h(
    "div",
    { class: "tools" },
    dialog,
    docs,
    h("button", { type: "button", class: "quiet", onclick: () => dialog.showModal() }, key() ? "Signed in" : "Sign in"),
    h("button", { type: "button", class: "quiet", "aria-label": "Dark or light", title: "Dark or light", onclick: toggle }, "◐"),
  );
}

function signIn(): HTMLDialogElement {
  const id = fresh("key");
  const input = h("input", { id, type: "password", autocomplete: "off", value: key() });
  const use = (value: string) => {
    setKey(value.trim());
    location.reload();
  };
  const dialog = h(
    "dialog",
    { "aria-labelledby": `${id}-title` },
    h("h2", { id: `${id}-title` }, "Sign in"),
    h("p", {}, "With an API key, the page shows what the key may do. As long as there are no keys, the page works on this machine without one."),
    h("label", { for: id }, "API key"),
    input,
    h(
      "div",
      { class: "row" },
      h("button", { type: "button", onclick: () => use(input.value) }, "Use this key"),
      h("button", { type: "button", class: "quiet", onclick: () => use("") }, "Sign out"),
      h("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, "Cancel"),
    ),
  );
  return dialog;
}

start();
