// Pieces that several views share.

import { fresh, h, replace, text } from "./dom";
import { link } from "./address";
import { get, words } from "./server";
import type { components } from "./schema";

export type Schema = components["schemas"];
export type Item = Schema["ItemAnswer"];
export type Reason = Schema["ReasonAnswer"];

/** A sentence about what went wrong. */
export function notice(words: string): HTMLElement {
  return h("p", { class: "notice", role: "alert" }, words);
}

export function empty(words: string): HTMLElement {
  return h("p", { class: "empty" }, words);
}

export function percent(share: number, digits = 0): string {
  return `${(100 * share).toFixed(digits)}%`;
}

export function number(value: number): string {
  return value.toLocaleString("en");
}

/** A count with its noun. */
export function counted(count: number, one: string, many: string): string {
  return `${number(count)} ${count === 1 ? one : many}`;
}

/** The headings of a table; from the column `figures` on, those of figures. */
export function heading(names: string[], figures: number): HTMLElement {
  return h("thead", {}, h("tr", {}, names.map((name, at) => h("th", { scope: "col", class: at >= figures && "figure" }, name))));
}

/** Rows under their headings; the first cell of a row names it, the others are figures. */
export function tableOf(label: string, headings: string[], rows: string[][]): HTMLElement {
  return h(
    "div",
    { class: "wide", tabindex: "0", role: "region", "aria-label": label },
    h(
      "table",
      {},
      heading(headings, 1),
      h("tbody", {}, rows.map(([name, ...figures]) => h("tr", {}, h("th", { scope: "row" }, text(name!)), figures.map((figure) => h("td", { class: "figure" }, figure))))),
    ),
  );
}

/** A labelled control. */
export function field(label: string, control: HTMLElement, hint = ""): HTMLElement {
  const id = control.id || fresh("field");
  control.id = id;
  if (hint) control.setAttribute("aria-describedby", `${id}-hint`);
  return h(
    "div",
    { class: "field" },
    h("label", { for: id }, label),
    control,
    hint && h("small", { id: `${id}-hint` }, hint),
  );
}

/** A choice of one. */
export function choice(options: [value: string, label: string][], value: string, chosen: (value: string) => void): HTMLSelectElement {
  const select = h(
    "select",
    { onchange: () => chosen(select.value) },
    options.map(([own, label]) => h("option", { value: own, selected: own === value }, label)),
  );
  return select;
}

/** Tags and domains of an item, each a link or a button. */
export function marks(item: { tags: string[]; domains: string[] }, clicked: (kind: "tag" | "domain", name: string) => void, most = 5): HTMLElement {
  const mark = (kind: "tag" | "domain") => (name: string) =>
    h("button", { type: "button", class: `mark ${kind}`, title: `Only this ${kind}`, onclick: () => clicked(kind, name) }, text(name));
  return h("span", { class: "marks" }, item.domains.slice(0, 2).map(mark("domain")), item.tags.slice(0, most).map(mark("tag")));
}

/** The path of a reason, drawn: nodes and what joins them. */
export function path(reason: Reason): HTMLElement {
  return h(
    "ol",
    { class: "path" },
    reason.path.map((part) =>
      part.node
        ? h(
            "li",
            { class: `node ${part.node.toLowerCase()}` },
            part.node === "Item" && part.id ? h("a", { href: link("explore", { item: part.id }) }, text(part.text ?? "")) : text(part.text ?? ""),
          )
        : h("li", { class: "edge" }, [part.of === "both" ? "" : part.of, part.text || (part.relationship ?? "").toLowerCase().replace("_", " ")].filter(Boolean).join(": ")),
    ),
  );
}

export interface Hit {
  kind: "item" | "user" | "tag";
  id: string;
  text: string;
  note: string;
}

/** A box that searches as one types; arrows and Enter choose. */
export function searchBox(label: string, kinds: Hit["kind"][], chosen: (hit: Hit) => void): HTMLElement {
  const id = fresh("search");
  const input = h("input", {
    id,
    type: "search",
    role: "combobox",
    autocomplete: "off",
    spellcheck: "false",
    dir: "auto",
    "aria-expanded": "false",
    "aria-controls": `${id}-list`,
    "aria-autocomplete": "list",
    placeholder: label,
  });
  const list = h("ul", { id: `${id}-list`, role: "listbox", class: "hits", "aria-label": label, hidden: true });
  const state = h("span", { class: "unseen", role: "status" });
  let hits: Hit[] = [];
  let at = -1;
  let asking = new AbortController();
  const close = () => {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const take = (hit: Hit | undefined) => {
    if (!hit) return;
    input.value = "";
    close();
    chosen(hit);
  };
  const draw = () => {
    replace(
      list,
      hits.map((hit, index) =>
        h(
          "li",
          { id: `${id}-${index}`, role: "option", "aria-selected": String(index === at), class: hit.kind, onpointerdown: (event: Event) => (event.preventDefault(), take(hit)) },
          text(hit.text),
          h("small", {}, hit.note),
        ),
      ),
      !hits.length && h("li", { class: "empty", role: "option", "aria-disabled": "true", "aria-selected": "false" }, "Nothing has that name."),
    );
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    if (at >= 0) input.setAttribute("aria-activedescendant", `${id}-${at}`);
    state.textContent = hits.length ? `${hits.length} found` : "nothing found";
  };
  const look = async () => {
    asking.abort();
    asking = new AbortController();
    const q = input.value.trim();
    if (!q) return close();
    try {
      const answer = await get("/v1/search", {}, { q, kind: kinds, n: 8 }, asking.signal);
      hits = answer.hits.filter((hit) => kinds.includes(hit.kind)).map((hit) => ({ kind: hit.kind, id: hit.id, text: hit.title, note: hit.note }));
      at = -1;
      draw();
    } catch (error) {
      const message = words(error);
      if (!message) return;
      replace(list, h("li", { class: "empty", role: "option", "aria-selected": "false" }, message));
      list.hidden = false;
    }
  };
  const move = (by: number) => {
    if (!hits.length) return;
    at = (at + by + hits.length) % hits.length;
    draw();
  };
  input.addEventListener("input", look);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") move(1);
    else if (event.key === "ArrowUp") move(-1);
    else if (event.key === "Enter") take(hits[Math.max(at, 0)]);
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
  });
  return h("div", { class: "search" }, h("label", { for: id, class: "unseen" }, label), input, list, state);
}
