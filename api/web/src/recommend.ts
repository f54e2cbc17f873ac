// Recommend: whose list, how it is made, the list with its reasons; and a second one beside it.

import { remember } from "./address";
import { h, replace } from "./dom";
import { filterBar, type Filters } from "./filters";
import { list } from "./list";
import type { View } from "./main";
import { notice, searchBox, type Schema } from "./parts";
import { curvesOf, everyRelease, type Curve, type Manifest } from "./releases";
import { may } from "./scopes";
import { post, postTo, words } from "./server";
import { knobs, read, subject, type Side, subjectChips, write } from "./side";

type Answer = Schema["ListAnswer"];

const SHOWN = 20;
const JUDGED = 100; // items of the list without reranking that a cost is counted on

export const recommend: View = async (box, params, signal) => {
  const sides: Side[] = [read(params, "")];
  if (params.has("b")) sides.push(read(params, "b-"));
  const filters: Filters = {
    only: params.getAll("only").map(split),
    not: params.getAll("not").map(split),
  };
  const releases = await everyKnown(signal);
  const learned = (side: Side) => curvesOf(releases.find((own) => (side.release ? own.name === side.release : own.current)));
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
    try {
      const answers = await Promise.all(sides.map((side) => answered(side, filters, asking.signal)));
      sides.forEach((side, at) => {
        const [shown, plain] = answers[at]!;
        const { controls, list: box } = bars[at]!;
        if (!controls.contains(document.activeElement) || !controls.childElementCount) {
          replace(controls, knobs(side, shown, learned(side), releases, () => changed(false)));
        }
        controls.querySelector(".cost")?.replaceWith(cost(shown, plain, learned(side), side));
        const other = sides[1] ? answers[1 - at]![0] : undefined;
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

/** The list of a side, and what it would be without reranking; of the release that the side has chosen. */
async function answered(side: Side, filters: Filters, signal: AbortSignal): Promise<[Answer, Answer]> {
  const plain = { ...side, profile: "neutral", longTail: null, diversity: null, freshness: null };
  const body = { subjects: [subject(side, filters, SHOWN), { ...subject(plain, filters, JUDGED), reasons: false }] };
  const { answers } = side.release
    ? await postTo("/v1/releases/{release}/recommendations", { release: side.release }, body, signal)
    : await post("/v1/recommendations", body, signal);
  return [answers[0]!, answers[1]!];
}

/** What a list gives up, in this list and as it was measured when the release was made. */
function cost(shown: Answer, plain: Answer, learned: Record<string, Curve>, side: Side): HTMLElement {
  const relevance = new Map(plain.items.map((item) => [item.item, Math.max(item.score, 0)]));
  const gain = (items: string[]) => items.reduce((sum, item, at) => sum + (relevance.get(item) ?? 0) / Math.log2(at + 2), 0);
  const whole = gain(plain.items.slice(0, shown.items.length).map((item) => item.item));
  const lost = whole > 0 ? Math.max(0, 1 - gain(shown.items.map((item) => item.item)) / whole) : 0;
  return h(
    "p",
    { class: "cost", role: "status" },
    h("b", {}, `${(100 * lost).toFixed(1)}%`),
    " of this list’s relevance is given up",
    measured(learned[shown.profile], side),
  );
}

function measured(curve: Curve | undefined, side: Side): string {
  if (!curve || side.diversity !== null || side.freshness !== null) return ".";
  const point = side.measured(curve);
  const change = point.shown_ndcg / curve.neutral.shown_ndcg - 1;
  const tail = `${Math.round(100 * curve.neutral.shown_long_tail_share)}% → ${Math.round(100 * point.shown_long_tail_share)}%`;
  return `; measured on ${curve.users.toLocaleString("en")} users: NDCG@20 ${change >= 0 ? "+" : "−"}${Math.abs(100 * change).toFixed(1)}%, long tail ${tail} of what is shown.`;
}

/** Every release that the key may see, for comparing and for what was measured of them. */
async function everyKnown(signal: AbortSignal): Promise<Manifest[]> {
  if (!may("explore") && !may("admin")) return [];
  try {
    const { published, refused } = await everyRelease(signal);
    return [...published, ...refused].filter((own) => !own.damaged);
  } catch (error) {
    words(error); // a page without the measured cost still shows lists
    return [];
  }
}

function split(text: string): ["tag" | "domain", string] {
  const at = text.indexOf(":");
  return [text.slice(0, at) === "domain" ? "domain" : "tag", text.slice(at + 1)];
}

function joined([kind, name]: [string, string]): string {
  return `${kind}:${name}`;
}
