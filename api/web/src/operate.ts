// Operate: is it well, what was released, how two releases differ; rules tried before anybody sees them.

import { h, replace, text } from "./dom";
import type { View } from "./main";
import { choice, empty, field, notice, number } from "./parts";
import { plot } from "./plot";
import { releases, type Manifest } from "./releases";
import { get, post, words } from "./server";

export const operate: View = async (box, _, signal) => {
  const [health, list, rules] = [h("section", { class: "card", "aria-label": "Health" }), h("section", { class: "card", "aria-label": "Releases" }), h("section", { class: "card", "aria-label": "Rules" })];
  replace(box, h("div", { class: "head" }, h("h1", {}, "Operate")), h("div", { class: "stack", "aria-busy": "true" }, health, list, rules));
  drawRules(rules, signal);
  await Promise.all([drawHealth(health, signal), drawReleases(list, signal)]);
  box.querySelector(".stack")?.setAttribute("aria-busy", "false");
};

async function drawHealth(box: HTMLElement, signal: AbortSignal): Promise<void> {
  const ready = await get("/ready", {}, {}, signal);
  const rows = Object.entries(ready).filter(([, value]) => value !== null && !(Array.isArray(value) && !value.length));
  replace(box, h("h2", {}, "Now"), h("dl", { class: "facts" }, rows.map(([name, value]) => [h("dt", {}, name.replace("_", " ")), h("dd", {}, told(value))]).flat()));
}

function told(value: unknown): string {
  if (Array.isArray(value)) return value.join(" ");
  if (value && typeof value === "object") return Object.entries(value).filter(([, own]) => own !== null).map(([name, own]) => `${name.replace("_", " ")} ${own}`).join(" · ");
  return String(value);
}

async function drawReleases(box: HTMLElement, signal: AbortSignal): Promise<void> {
  const all = (await releases(signal)).reverse();
  if (!all.length) return replace(box, h("h2", {}, "Releases"), empty("No release yet: nichegraph refresh makes the first."));
  const difference = h("div");
  const names = all.map((release): [string, string] => [release.name, release.name]);
  let [left, right] = [all[1]?.name ?? all[0]!.name, all[0]!.name];
  const compare = () => replace(difference, compared(all.find((own) => own.name === left)!, all.find((own) => own.name === right)!));
  replace(
    box,
    h("h2", {}, "Releases"),
    h("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Table of releases" }, table(all)),
    all.length > 2 && drift([...all].reverse()),
    all.length > 1 && [
      h("h3", {}, "What changed between two"),
      h("div", { class: "knobs" }, field("From", choice(names, left, (value) => ((left = value), compare()))), field("To", choice(names, right, (value) => ((right = value), compare())))),
      difference,
    ],
  );
  if (all.length > 1) compare();
}

/** The figures of a release: what it counts, and what its default profile measured. */
function figures(release: Manifest): Record<string, number> {
  const measured = release.segments?.profiles?.default;
  const chosen = measured?.curve[measured.chosen];
  return {
    ...release.counts,
    ...(chosen && { "NDCG@20": chosen.shown_ndcg, "long-tail share": chosen.shown_long_tail_share, coverage: chosen.shown_coverage, diversity: chosen.shown_diversity }),
  };
}

function table(all: Manifest[]): HTMLElement {
  const names = [...new Set(all.flatMap((release) => Object.keys(figures(release))))];
  return h(
    "table",
    {},
    h("thead", {}, h("tr", {}, ["Release", "Made", "", ...names].map((name) => h("th", { scope: "col" }, name.replaceAll("_", " "))))),
    h(
      "tbody",
      {},
      all.map((release) => {
        const own = figures(release);
        return h(
          "tr",
          { class: release.current && "current" },
          h("th", { scope: "row" }, release.name),
          h("td", { class: "when" }, new Date(1000 * release.created_at).toISOString().slice(0, 16).replace("T", " ")),
          h("td", {}, release.current ? h("span", { class: "label" }, "served") : ""),
          names.map((name) => h("td", { class: "figure" }, name in own ? shown(own[name]!) : "–")),
        );
      }),
    ),
  );
}

function drift(all: Manifest[]): HTMLElement {
  const box = h("div", { class: "plot" });
  const measured = all.map((release) => figures(release)["NDCG@20"] ?? null);
  plot(box, { label: "NDCG@20 of each release", x: all.map((release) => release.created_at), time: true, lines: [{ label: "NDCG@20", values: measured, colour: "accent", points: true }], high: 180 });
  return h("figure", {}, h("figcaption", {}, "NDCG@20 of the default profile, release by release"), box);
}

function compared(left: Manifest, right: Manifest): HTMLElement {
  const [before, after] = [figures(left), figures(right)];
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].filter((name) => before[name] !== after[name]);
  if (!names.length) return empty("Their figures are the same.");
  return h(
    "ul",
    { class: "changes" },
    names.map((name) => {
      const by = (after[name] ?? 0) - (before[name] ?? 0);
      return h("li", {}, `${name.replaceAll("_", " ")}: ${shown(before[name] ?? 0)} → ${shown(after[name] ?? 0)} `, h("span", { class: `moved ${by >= 0 ? "up" : "down"}` }, `${by >= 0 ? "+" : "−"}${shown(Math.abs(by))}`));
    }),
  );
}

function shown(value: number): string {
  return Number.isInteger(value) ? number(value) : value.toFixed(3);
}

const EXAMPLE = `[[rule]]
name = "two of a kind"
do = "limit"
by = "domain"
most = 2
`;

function drawRules(box: HTMLElement, signal: AbortSignal): void {
  const input = h("textarea", { rows: 9, spellcheck: "false", dir: "ltr", class: "code", value: EXAMPLE });
  const result = h("div", { role: "status" });
  const button = h("button", { type: "button" }, "Try them on users");
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      const answer = await post("/v1/rules/check", { rules: input.value }, signal);
      replace(result, effects(answer.rows), answer.notes.length > 0 && h("ul", { class: "notes" }, answer.notes.map((note) => h("li", {}, text(note)))));
    } catch (error) {
      const message = words(error);
      if (message) replace(result, notice(message));
    }
    button.disabled = false;
  });
  replace(box, h("h2", {}, "Editorial rules, tried"), h("p", {}, "What rules would change, on a sample of users. Nothing is kept: rules hold when they stand in rules.toml of the home."), field("Rules, as in rules.toml", input), h("div", { class: "row" }, button), result);
}

function effects(rows: { rule: string; do: string; changed: number; new: number; cost: number }[]): HTMLElement {
  const share = (value: number) => h("td", { class: "figure" }, `${(100 * value).toFixed(1)} %`);
  return h(
    "table",
    {},
    h("thead", {}, h("tr", {}, ["Rule", "Does", "Lists changed", "New in a list", "Relevance given up"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, h("th", { scope: "row" }, text(row.rule)), h("td", {}, row.do), share(row.changed), share(row.new), share(row.cost)))),
  );
}
