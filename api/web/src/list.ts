// A list as it is answered: each item with its reasons, the path drawn, and where it stood before.

import { link } from "./address";
import { h, replace, text } from "./dom";
import { empty, marks, notice, path, percent, type Item, type Schema } from "./parts";
import { get, words } from "./server";

type Answer = Schema["ListAnswer"];

interface Around {
  user?: string;
  other?: Answer; // the list beside it
  filter: (kind: "tag" | "domain", name: string) => void;
  more?: (item: string) => void; // as if somebody clicked it
}

export function list(answer: Answer, around: Around): (HTMLElement | null)[] {
  const before = around.other && new Map(around.other.items.map((item, at) => [item.item, at]));
  return [
    h(
      "p",
      { class: "by" },
      `By ${answer.served_by}, profile “${answer.profile}”`,
      answer.segment && `, segment “${answer.segment}”`,
      ". ",
      answer.fallback,
    ),
    around.other ? h("p", { class: "by" }, shared(answer, around.other)) : null,
    answer.notes.length ? h("ul", { class: "notes" }, answer.notes.map((note) => h("li", {}, text(note)))) : null,
    answer.items.length
      ? h("ol", { class: "items" }, answer.items.map((item, at) => row(item, at, around, before)))
      : empty("No item fits. Remove a filter, or load items first."),
  ];
}

/** How much two lists have in common, in words. */
function shared(answer: Answer, other: Answer): string {
  const [own, theirs] = [answer.items.map(({ item }) => item), other.items.map(({ item }) => item)];
  if (own.join("\n") === theirs.join("\n")) return "Both lists are the same.";
  const common = own.filter((item) => theirs.includes(item)).length;
  const kept = own.filter((item, at) => theirs[at] === item).length;
  return `${common} of ${own.length} are in both lists, ${kept} at the same place.`;
}

function row(item: Item, at: number, around: Around, before?: Map<string, number>): HTMLElement {
  const [first] = item.reasons;
  return h(
    "li",
    { class: "item" },
    h(
      "div",
      { class: "line" },
      h("span", { class: "rank", "aria-hidden": "true" }, at + 1),
      before && moved(before.get(item.item), at),
      h("a", { class: "title", href: link("explore", { item: item.item }) }, text(item.title)),
      item.label && h("span", { class: "label" }, item.label),
      around.more &&
        h("button", { type: "button", class: "quiet small", title: "Add to the session, as if clicked", "aria-label": `Add ${item.title} to the session`, onclick: () => around.more!(item.item) }, "+"),
    ),
    marks(item, around.filter),
    first && why(item, around.user),
  );
}

/** How an item's place differs from that in the other list. */
function moved(before: number | undefined, at: number): HTMLElement {
  if (before === undefined) return h("span", { class: "moved new" }, "new");
  const by = before - at;
  if (by === 0) return h("span", { class: "moved" }, "=");
  const words = `${Math.abs(by)} ${by > 0 ? "higher" : "lower"} than in the other list`;
  return h("span", { class: `moved ${by > 0 ? "up" : "down"}`, title: words, "aria-label": words, role: "img" }, `${by > 0 ? "↑" : "↓"}${Math.abs(by)}`);
}

function why(item: Item, user?: string): HTMLElement {
  const details = h("details", { class: "why" }, h("summary", {}, text(item.reasons[0]!.text)));
  details.addEventListener("toggle", () => {
    if (!details.open || details.childElementCount > 1) return;
    details.append(
      h(
        "ul",
        { class: "reasons" },
        item.reasons.map((reason) =>
          h(
            "li",
            {},
            h("span", { class: "share" }, h("meter", { min: 0, max: 1, value: reason.share, "aria-label": "Share of the score" }), percent(reason.share)),
            path(reason),
          ),
        ),
      ),
    );
    if (user) details.append(cypher(item, user));
  });
  return details;
}

/** The query that shows the path in the graph, and the way to the console. */
function cypher(item: Item, user: string): HTMLElement {
  const box = h("div", { class: "cypher" });
  const button = h("button", { type: "button", class: "quiet small" }, "Show the Cypher");
  button.addEventListener("click", async () => {
    try {
      const answer = await get("/v1/users/{user}/recommendations/{item}/why", { user, item: item.item });
      if (!answer.cypher) return replace(box, "No path is known.");
      const { query, parameters } = answer.cypher;
      replace(
        box,
        h("pre", { dir: "ltr", tabindex: "0" }, h("code", {}, `${query}\n\n${JSON.stringify(parameters)}`)),
        h("a", { href: link("console", { query, parameters: JSON.stringify(parameters) }) }, "Open in the console"),
      );
    } catch (error) {
      const message = words(error);
      if (message) replace(box, notice(message));
    }
  });
  box.append(button);
  return box;
}
