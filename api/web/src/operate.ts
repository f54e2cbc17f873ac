// Operate: is it well, what was released and refused, how two releases differ; clicks; rules.

import { link } from "./address";
import { h, replace } from "./dom";
import type { View } from "./main";
import { choice, empty, field, heading, notice, number } from "./parts";
import { drawClicks } from "./clicks";
import { drift } from "./drift";
import { everyRelease, type Gates, type Manifest } from "./releases";
import { drawRules } from "./rules";
import { may } from "./scopes";
import { change, get, key, page, words } from "./server";
import { again, drawTraffic, waits } from "./traffic";

export const operate: View = async (box, _, signal) => {
  const part = (label: string) => h("section", { class: "card", "aria-label": label });
  const parts: [HTMLElement, (box: HTMLElement, signal: AbortSignal) => Promise<void>][] = [
    [part("Health"), drawHealth],
    ...(may("admin") ? [[part("Traffic"), drawTraffic] as [HTMLElement, typeof drawTraffic]] : []),
    [part("Releases"), drawReleases],
    [part("Clicks"), drawClicks],
    [part("Rules"), drawRules],
  ];
  replace(box, h("div", { class: "head" }, h("h1", {}, "Operate")), h("div", { class: "stack", "aria-busy": "true" }, parts.map(([own]) => own)));
  await Promise.all(parts.map(([own, draw]) => draw(own, signal)));
  box.querySelector(".stack")?.setAttribute("aria-busy", "false");
};

async function drawHealth(box: HTMLElement, signal: AbortSignal): Promise<void> {
  await again(signal, async () => {
    const { inbox, notes, ...rest } = await get("/ready", {}, {}, signal);
    const rows = Object.entries({ ...rest, notes: notes.join(" "), inbox: waits(inbox) }).filter(([, value]) => value);
    replace(box, h("h2", {}, "Now"), h("dl", { class: "facts" }, rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))]).flat()));
  });
}

async function drawReleases(box: HTMLElement, signal: AbortSignal): Promise<void> {
  const { published, refused } = await everyRelease(signal);
  const all = published.reverse();
  if (!all.length) return replace(box, h("h2", {}, "Releases"), empty("No release yet: run nichegraph refresh."));
  const difference = h("div");
  const names = all.map((release): [string, string] => [release.name, release.name]);
  let [left, right] = [all[1]?.name ?? all[0]!.name, all[0]!.name];
  const state = h("div", { role: "status" });
  const act = async (what: () => Promise<unknown>) => {
    try {
      await what();
      await drawReleases(box, signal);
    } catch (error) {
      const message = words(error);
      if (message) replace(state, notice(message));
    }
  };
  const compare = () => {
    const [before, after] = [left, right].map((name) => all.find((own) => own.name === name)!) as [Manifest, Manifest];
    replace(difference, compared(before, after), sideBySide(before, after));
  };
  replace(
    box,
    h("h2", {}, "Releases"),
    h("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Table of releases" }, table(all, act)),
    state,
    refused.length > 0 && refusals(refused.reverse(), act),
    all.filter((own) => own.current).flatMap((own) => gates(own.name, own.gates)),
    all.length > 1 && drift([...all].reverse()),
    all.length > 1 && [
      h("h3", {}, "What changed between two releases"),
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

type Act = (what: () => Promise<unknown>) => void;

function table(all: Manifest[], act: Act): HTMLElement {
  const names = [...new Set(all.flatMap((release) => Object.keys(figures(release))))];
  return h(
    "table",
    {},
    heading(["Release", "Made", "", "", ...names.map((name) => name.replaceAll("_", " "))], 4),
    h(
      "tbody",
      {},
      all.map((release) => {
        const own = figures(release);
        return h(
          "tr",
          { class: release.current && "current" },
          h("th", { scope: "row" }, release.name),
          h("td", { class: "when" }, moment(release)),
          h("td", {}, marks(release).map((word) => h("span", { class: "label" }, word))),
          h("td", { class: "acts" }, acts(release, act)),
          names.map((name) => h("td", { class: "figure" }, name in own ? shown(own[name]!) : "–")),
        );
      }),
    ),
  );
}

function moment(release: Manifest): string {
  return release.created_at ? new Date(1000 * release.created_at).toISOString().slice(0, 16).replace("T", " ") : "";
}

function marks(release: Manifest): string[] {
  const held: [unknown, string][] = [[release.current, "served"], [release.pinned, "pinned"], [release.gates?.forced, "forced"], [release.damaged, "damaged"]];
  return held.filter(([holds]) => holds).map(([, word]) => word);
}

/** What can be done with a release: serve it, keep it, read its report. */
function acts(release: Manifest, act: Act): (HTMLElement | false)[] {
  const { name } = release;
  const button = (label: string, about: string, done: () => Promise<unknown>) =>
    h("button", { type: "button", class: "quiet small", "aria-label": about, onclick: () => act(done) }, label);
  const changes = may("admin") && !release.damaged && release.refused === undefined;
  return [
    changes && !release.current && button("Serve", `Serve release ${name}`, () => change("put", "/v1/releases/current", {}, { release: name })),
    changes && (release.pinned
      ? button("Unpin", `Unpin release ${name}`, () => change("delete", "/v1/releases/{release}/pin", { release: name }))
      : button("Pin", `Pin release ${name}`, () => change("put", "/v1/releases/{release}/pin", { release: name }))),
    release.report && (key()
      ? button("Report", `Download the report of release ${name}`, () => downloaded(name))
      : h("a", { href: `v1/releases/${name}/report`, target: "_blank", rel: "noopener", "aria-label": `Report of release ${name}` }, "Report")),
  ];
}

async function downloaded(name: string): Promise<void> {
  const address = URL.createObjectURL(await page("/v1/releases/{release}/report", { release: name }));
  h("a", { href: address, download: `${name}.html` }).click();
  URL.revokeObjectURL(address);
}

function refusals(refused: Manifest[], act: Act): HTMLElement[] {
  return [
    h("h3", {}, "Refused"),
    h("ul", { class: "refused" }, refused.map((release) =>
      h("li", {}, h("strong", {}, release.name), ` ${moment(release)}`, h("ul", {}, (release.gates?.reasons ?? []).map((reason) => h("li", {}, reason.text))), acts(release, act)),
    )),
  ];
}

/** The gate's figures: NDCG@20 of a release and its rivals in each part. */
function gates(name: string, own: Gates | undefined): HTMLElement[] {
  if (!own?.figures.length) return [];
  const rivals = [...new Set(own.figures.flatMap((figure) => Object.keys(figure.rivals)))];
  const named = (rival: string) => (rival === "served" ? "served before" : rival);
  const cell = (value: number | undefined) => h("td", { class: "figure" }, value === undefined ? "–" : value.toFixed(4));
  const table = h(
    "div",
    { class: "wide", tabindex: "0", role: "region", "aria-label": `Gates of ${name}` },
    h(
      "table",
      {},
      heading(["NDCG@20 at the gate", "users", "this release", ...rivals.map(named)], 1),
      h("tbody", {}, own.figures.map((figure) => h("tr", {}, h("th", { scope: "row" }, figure.part), h("td", { class: "figure" }, number(figure.users)), cell(figure.candidate), rivals.map((rival) => cell(figure.rivals[rival]?.mean))))),
    ),
  );
  return [h("h3", {}, `How ${name} was judged`), table];
}

/** The way to the lists of both for the same user. */
function sideBySide(before: Manifest, after: Manifest): HTMLElement {
  const of = (release: Manifest) => (release.current ? "" : release.name);
  return h("p", {}, h("a", { href: link("recommend", { release: of(before), b: "1", "b-release": of(after) }) }, "Their lists side by side"));
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
