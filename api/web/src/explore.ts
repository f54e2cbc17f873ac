// Explore: an item's card with what lies around it, or the map of the whole catalogue.

import { link } from "./address";
import { h, replace, text } from "./dom";
import type { Chosen } from "./graphview";
import { list } from "./list";
import type { View } from "./main";
import { marks, notice, number, searchBox, type Schema } from "./parts";
import { get, words } from "./server";

const KINDS = ["item", "tag", "domain", "user"] as const;

export const explore: View = async (box, params, signal) => {
  const kind = KINDS.find((own) => own !== "user" || !params.has("lit") ? params.has(own) && !params.has("map") : false);
  const body = h("div", { "aria-busy": "true" });
  replace(
    box,
    h("div", { class: "head" }, h("h1", {}, "Explore"), kind && h("a", { href: link("explore", kind === "item" ? { map: "1", lit: params.get(kind)! } : kind === "user" ? { map: "1", user: params.get(kind)! } : { map: "1" }) }, "Show on the map")),
    h("div", { class: "row" }, searchBox("An item, a tag or a user", ["item", "tag", "user"], (hit) => (location.hash = link("explore", { [hit.kind]: hit.id })))),
    body,
  );
  try {
    if (kind) await node(body, { kind, id: params.get(kind)! }, signal);
    else await (await import("./map")).map(body, params, signal);
  } finally {
    body.setAttribute("aria-busy", "false");
  }
};

async function node(box: HTMLElement, start: Chosen, signal: AbortSignal): Promise<void> {
  const { graphView } = await import("./graphview");
  const [card, picture] = [h("section", { class: "card", "aria-label": "Card" }), h("section", { class: "card picture", "aria-label": "Neighbourhood" })];
  replace(box, h("div", { class: "columns" }, card, picture));
  const tell = (chosen: Chosen) => describe(card, chosen, signal);
  await Promise.all([tell(start), graphView(picture, start, signal, (chosen) => void tell(chosen))]);
}

async function describe(box: HTMLElement, { kind, id }: Chosen, signal: AbortSignal): Promise<void> {
  try {
    if (kind === "item") return replace(box, await itemCard(id, signal));
    const head = [h("h2", {}, text(id)), h("p", { class: "by" }, kind)];
    if (kind === "user") {
      return replace(box, head, h("p", {}, h("a", { href: link("recommend", { user: id }) }, "Recommendations for this user")));
    }
    const answer = kind === "tag" ? await get("/v1/tags/items", {}, { name: id, n: 10 }, signal) : await get("/v1/popular", {}, { domain: [id], n: 10 }, signal);
    replace(box, head, h("p", {}, h("a", { href: link("recommend", { only: `${kind}:${id}` }) }, "Recommend only from this")), list(answer, { filter: go }));
  } catch (error) {
    const message = words(error);
    if (message) replace(box, h("h2", {}, text(id)), notice(message));
  }
}

async function itemCard(id: string, signal: AbortSignal): Promise<(HTMLElement | null)[]> {
  const [item, near, times] = await Promise.all([
    get("/v1/items/{item}", { item: id }, {}, signal),
    get("/v1/items/{item}/similar", { item: id }, { n: 8 }, signal),
    get("/v1/items/{item}/popularity", { item: id }, {}, signal),
  ]);
  const known = { tags: (item.tags ?? []).map((tag) => String(tag.tag)), domains: (item.domains ?? []).map((domain) => String(domain.domain)) };
  const facts = Object.entries(item.attributes ?? {});
  return [
    h("h2", {}, text(item.title ?? id)),
    h("p", { class: "by" }, text(id), item.created_at ? ` · of ${new Date(1000 * item.created_at).toISOString().slice(0, 10)}` : "", item.hidden ? " · hidden" : ""),
    marks(known, go, 30),
    facts.length ? h("dl", { class: "facts" }, facts.map(([name, value]) => [h("dt", {}, text(name)), h("dd", {}, text(String(value)))]).flat()) : null,
    times.spans.length ? await curve(times.spans) : null,
    h("h3", {}, "Similar items"),
    ...list(near, { filter: go }),
  ];
}

/** Popularity over time. */
async function curve(spans: Schema["SpanAnswer"][]): Promise<HTMLElement> {
  const { plot } = await import("./plot");
  const total = spans.reduce((sum, span) => sum + span.people, 0);
  const box = h("div", { class: "plot" });
  plot(box, {
    label: `When people chose it: ${number(total)} people`,
    x: spans.map((span) => (span.begins + span.ends) / 2),
    time: true,
    lines: [{ label: "people", values: spans.map((span) => span.people), colour: "accent" }],
    high: 130,
  });
  return h("figure", {}, h("figcaption", {}, "Popularity over time"), box);
}

function go(kind: "tag" | "domain", name: string): void {
  location.hash = link("explore", { [kind]: name });
}
