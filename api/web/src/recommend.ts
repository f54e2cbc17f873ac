// Recommend: whose list, how it is made, the list with its reasons; and a second one beside it.

import { remember } from "./address";
import { h, replace } from "./dom";
import { filterBar, type Filters } from "./filters";
import { list } from "./list";
import type { View } from "./main";
import { notice, searchBox, type Schema } from "./parts";
import { curves, type Curve } from "./releases";
import { post, words } from "./server";
import { knobs, read, subject, type Side, subjectChips, write } from "./side";

const SHOWN = 20;
const JUDGED = 100; // items of the list without reranking that a cost is counted on

export const recommend: View = async (box, params, signal) => {
  const sides: Side[] = [read(params, "")];
  if (params.has("b")) sides.push(read(params, "b-"));
  const filters: Filters = {
    only: params.getAll("only").map(split),
    not: params.getAll("not").map(split),
  };
  const [learned, profiles] = [await learnedCurves(signal), new Map<string, string>()];
  const columns = h("div", { class: "columns" });
  const filterBox = h("div");
  const compare = h("button", { type: "button", class: "quiet", onclick: () => toggleSecond() });
  const bars: { controls: HTMLElement; list: HTMLElement }[] = [];
  let asking = new AbortController();

  function changed(rebuild = true): void {
    const state: Record<string, string | string[]> = {
      only: filters.only.map(joined),
      not: filters.not.map(joined),
      ...write(sides[0]!, ""),
    };
    if (sides[1]) Object.assign(state, write(sides[1], "b-"), { b: "1" });
    remember("recommend", state);
    if (rebuild) draw();
    ask();
  }

  function toggleSecond(): void {
    if (sides[1]) sides.pop();
    else sides.push({ ...sides[0]!, items: [...sides[0]!.items], tags: [...sides[0]!.tags], profile: "neutral" });
    changed();
  }

  function draw(): void {
    compare.textContent = sides[1] ? "Back to one list" : "Side by side";
    replace(filterBox, filterBar(filters, changed));
    bars.length = 0;
    replace(
      columns,
      sides.map((side, at) => {
        const parts = { controls: h("div"), list: h("div", { "aria-busy": "true" }) };
        bars.push(parts);
        return h(
          "section",
          { class: "side", "aria-label": sides[1] ? `List ${at + 1}` : "List" },
          searchBox("A user, or items and tags of a session", ["user", "item", "tag"], (hit) => {
            if (hit.kind === "user") side.user = hit.id;
            else (hit.kind === "item" ? side.items : side.tags).push(hit.id);
            changed();
          }),
          subjectChips(side, changed),
          parts.controls,
          parts.list,
        );
      }),
    );
  }

  async function ask(): Promise<void> {
    asking.abort();
    asking = new AbortController();
    bars.forEach(({ list: box }) => box.setAttribute("aria-busy", "true"));
    signal.addEventListener("abort", () => asking.abort(), { once: true });
    const subjects = sides.flatMap((side) => [
      subject(side, filters, SHOWN),
      { ...subject({ ...side, profile: "neutral", longTail: null, diversity: null, freshness: null }, filters, JUDGED), reasons: false },
    ]);
    try {
      const { answers } = await post("/v1/recommendations", { subjects }, asking.signal);
      sides.forEach((side, at) => {
        const [shown, plain] = [answers[2 * at]!, answers[2 * at + 1]!];
        profiles.set(shown.profile, shown.profile);
        const { controls, list: box } = bars[at]!;
        if (!controls.contains(document.activeElement) || !controls.childElementCount) {
          replace(controls, knobs(side, shown, learned, () => changed(false)));
        }
        controls.querySelector(".cost")?.replaceWith(cost(shown, plain, learned, side));
        const other = sides[1] ? answers[2 * (1 - at)] : undefined;
        box.setAttribute("aria-busy", "false");
        replace(box, list(shown, { user: side.user, other, filter: addFilter, more: (item) => addItem(side, item) }));
      });
    } catch (error) {
      const message = words(error);
      if (!message) return;
      bars.forEach(({ list: box }) => (box.setAttribute("aria-busy", "false"), replace(box, notice(message))));
    }
  }

  function addFilter(kind: "tag" | "domain", name: string): void {
    if (![...filters.only, ...filters.not].some(([k, n]) => k === kind && n === name)) filters.only.push([kind, name]);
    changed();
  }

  function addItem(side: Side, item: string): void {
    side.items.push(item);
    changed();
  }

  replace(box, h("div", { class: "head" }, h("h1", {}, "Recommend"), compare), filterBox, columns);
  draw();
  await ask();
};

/** What a list gives up, in this list and as it was measured when the release was made. */
function cost(shown: Schema["ListAnswer"], plain: Schema["ListAnswer"], learned: Record<string, Curve>, side: Side): HTMLElement {
  const relevance = new Map(plain.items.map((item) => [item.item, Math.max(item.score, 0)]));
  const gain = (items: string[]) => items.reduce((sum, item, at) => sum + (relevance.get(item) ?? 0) / Math.log2(at + 2), 0);
  const whole = gain(plain.items.slice(0, shown.items.length).map((item) => item.item));
  const lost = whole > 0 ? Math.max(0, 1 - gain(shown.items.map((item) => item.item)) / whole) : 0;
  return h(
    "p",
    { class: "cost", role: "status" },
    h("b", {}, `${(100 * lost).toFixed(1)} %`),
    " of this list’s relevance is given up",
    measured(learned[shown.profile], side),
  );
}

function measured(curve: Curve | undefined, side: Side): string {
  if (!curve || side.diversity !== null || side.freshness !== null) return ".";
  const point = side.measured(curve);
  const change = point.shown_ndcg / curve.neutral.shown_ndcg - 1;
  const tail = `${Math.round(100 * curve.neutral.shown_long_tail_share)} % → ${Math.round(100 * point.shown_long_tail_share)} %`;
  return `; measured on ${curve.users.toLocaleString("en")} users: NDCG@20 ${change >= 0 ? "+" : "−"}${Math.abs(100 * change).toFixed(1)} %, long tail ${tail} of what is shown.`;
}

async function learnedCurves(signal: AbortSignal): Promise<Record<string, Curve>> {
  try {
    return await curves(signal);
  } catch (error) {
    words(error); // a page without the measured cost still shows lists
    return {};
  }
}

function split(text: string): ["tag" | "domain", string] {
  const at = text.indexOf(":");
  return [text.slice(0, at) === "domain" ? "domain" : "tag", text.slice(at + 1)];
}

function joined([kind, name]: [string, string]): string {
  return `${kind}:${name}`;
}
