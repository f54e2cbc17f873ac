// How the releases went, one after the other: what each was judged at, and how far it moved.

import { h } from "./dom";
import { plot } from "./plot";
import { curvesOf, type Manifest } from "./releases";

const FIGURES: { label: string; of: (release: Manifest) => number | undefined | null }[] = [
  { label: "NDCG@20 at the gate, everybody", of: ({ gates }) => gates?.figures.find(({ part }) => part === "everybody")?.candidate },
  { label: "NDCG@20 of the default profile", of: (release) => chosen(release)?.shown_ndcg },
  { label: "Long-tail share of what is shown", of: (release) => chosen(release)?.shown_long_tail_share },
  { label: "Nearest items that stayed (Jaccard of 10)", of: ({ drift }) => drift?.vectors?.spectral?.["jaccard@10"] },
  { label: "Events", of: ({ counts }) => counts?.events },
  { label: "Items", of: ({ counts }) => counts?.items },
];

/** A small plot of each figure that at least two releases have; `all` are oldest first. */
export function drift(all: Manifest[]): HTMLElement[] {
  const made = all.filter((release) => release.created_at);
  const plots = FIGURES.flatMap(({ label, of }) => {
    const values = made.map((release) => of(release) ?? null);
    return values.filter((value) => value !== null).length < 2 ? [] : [figure(label, made, values)];
  });
  return plots.length ? [h("h3", {}, "Over time"), h("div", { class: "small-plots" }, plots)] : [];
}

function figure(label: string, made: Manifest[], values: (number | null)[]): HTMLElement {
  const box = h("div", { class: "plot" });
  const told = values.filter((value) => value !== null);
  plot(box, {
    label: `${label}, release by release: from ${told[0]} to ${told.at(-1)}`,
    x: made.map((release) => release.created_at),
    time: true,
    lines: [{ label, values, colour: "accent", points: true }],
    high: 130,
  });
  return h("figure", {}, h("figcaption", {}, label), box);
}

function chosen(release: Manifest) {
  const curve = curvesOf(release).default;
  return curve?.curve[curve.chosen];
}
