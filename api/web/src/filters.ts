// Filters built by clicking: only these, or not these.

import { h, text } from "./dom";
import { searchBox } from "./parts";

export type Condition = ["tag" | "domain", string];

export interface Filters {
  only: Condition[];
  not: Condition[];
}

/** In the language of docs/requests.md. */
export function conditions({ only, not }: Filters): Record<string, unknown> {
  const names = (list: Condition[], kind: string) => list.filter(([own]) => own === kind).map(([, name]) => name);
  const refused = [
    ...names(not, "domain").map((name) => ({ domains: [name] })),
    ...names(not, "tag").map((name) => ({ tags_any: [name] })),
  ];
  return {
    ...(names(only, "domain").length && { domains: names(only, "domain") }),
    ...(names(only, "tag").length && { tags_all: names(only, "tag") }),
    ...(refused.length && { not: refused.length === 1 ? refused[0] : { or: refused } }),
  };
}

export function filterBar(filters: Filters, changed: () => void): HTMLElement {
  const chips = (list: Condition[], other: Condition[], word: string) =>
    list.map((condition, at) =>
      h(
        "li",
        { class: `chip ${condition[0]} ${word}` },
        h(
          "button",
          { type: "button", class: "word", title: "Switch between only and not", "aria-label": `${word} ${condition[1]}: switch`, onclick: () => (list.splice(at, 1), other.push(condition), changed()) },
          word,
        ),
        text(condition[1]),
        h("button", { type: "button", "aria-label": `Remove the filter ${condition[1]}`, onclick: () => (list.splice(at, 1), changed()) }, "×"),
      ),
    );
  return h(
    "div",
    { class: "filters" },
    searchBox("Filter by a tag", ["tag"], (hit) => (filters.only.push(["tag", hit.id]), changed())),
    h(
      "ul",
      { class: "chips", "aria-label": "Filters" },
      chips(filters.only, filters.not, "only"),
      chips(filters.not, filters.only, "not"),
      !filters.only.length && !filters.not.length && h("li", { class: "empty" }, "No filter. Click a tag or domain in the list to add one."),
    ),
  );
}
