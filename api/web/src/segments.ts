// Segments: who is grouped together, what marks them, and what their lists trade for what.

import { link } from "./address";
import { h, replace, s, text } from "./dom";
import type { View } from "./main";
import { empty, number, percent, type Schema } from "./parts";
import { plot } from "./plot";
import { curves, type Curve } from "./releases";
import { get } from "./server";

const COLOURS = ["#0b8a7d", "#c2571a", "#6a3d9a", "#2f6fb7", "#a3a01b", "#b0306a", "#4d7a2a", "#7a5a3c"];

export const segments: View = async (box, _, signal) => {
  const head = h("h1", {}, "Segments");
  const body = h("div", { "aria-busy": "true" });
  replace(box, h("div", { class: "head" }, head), body);
  const [about, learned, picture] = await Promise.all([get("/v1/segments", {}, {}, signal), curves(signal), get("/v1/segments/picture", {}, {}, signal)]);
  const tint = (name: string) => COLOURS[picture.names.indexOf(name) % COLOURS.length] ?? "var(--dim)";
  const all = about.segments.reduce((sum, segment) => sum + (segment.users ?? 0), 0);
  replace(
    body,
    about.note && h("p", { class: "by" }, about.note),
    picture.points.length ? scatter(picture, tint) : empty("This release has no learned segments to draw."),
    h("div", { class: "cards" }, about.segments.map((segment) => card(segment, all, tint(segment.name), learned[segment.profile], picture.users[segment.name] ?? []))),
  );
  body.setAttribute("aria-busy", "false");
};

function card(segment: Schema["SegmentAnswer"], all: number, tint: string, curve: Curve | undefined, users: string[]): HTMLElement {
  const weights = Object.entries(segment.weights).filter(([, weight]) => typeof weight !== "number" || weight > 0);
  const figure = h("div", { class: "plot" });
  if (curve) tradeOff(figure, curve);
  return h(
    "section",
    { class: "card", "aria-label": segment.name },
    h("h2", {}, h("span", { class: "dot", style: { background: tint } }), text(segment.name)),
    h("p", { class: "size" }, segment.users === null ? "users whom a rule picks" : `${number(segment.users)} users`, segment.users !== null && all > 0 && ` · ${percent(segment.users / all)}`),
    h("ul", { class: "persona" }, segment.persona.split("; ").map((mark) => h("li", {}, text(mark)))),
    h("p", { class: "by" }, `Its lists use the profile “${segment.profile}”: ${weights.map(([name, weight]) => `${name.replace("_", " ")} ${weight}`).join(", ")}.`),
    users.length ? h("p", { class: "samples" }, "For instance ", users.map((user, at) => [at ? ", " : "", h("a", { href: link("recommend", { user }) }, text(user))]).flat()) : null,
    curve && h("figure", {}, h("figcaption", {}, "What the long tail costs"), figure, chosen(curve)),
  );
}

function tradeOff(box: HTMLElement, curve: Curve): void {
  plot(box, {
    label: `NDCG@20 against the share of the long tail, ${curve.curve.length} profiles`,
    x: curve.curve.map((point) => Math.round(1000 * point.shown_long_tail_share) / 10),
    xLabel: "long tail, % of what is shown",
    lines: [{ label: "NDCG@20", values: curve.curve.map((point) => point.shown_ndcg), colour: "accent", points: true }],
    high: 180,
  });
}

function chosen(curve: Curve): HTMLElement {
  const { shown_ndcg, shown_long_tail_share, shown_coverage } = curve.curve[curve.chosen]!;
  return h(
    "p",
    { class: "by" },
    `Chosen: NDCG@20 ${shown_ndcg.toFixed(3)} with ${percent(shown_long_tail_share)} long tail and ${percent(shown_coverage)} of the catalogue shown; without reranking ${curve.neutral.shown_ndcg.toFixed(3)}, ${percent(curve.neutral.shown_long_tail_share)} and ${percent(curve.neutral.shown_coverage)}.`,
  );
}

/** Users in two dimensions, by the behaviour that groups them. */
function scatter(picture: Schema["SegmentPictureAnswer"], tint: (name: string) => string): HTMLElement {
  const [wide, high] = [800, 300];
  const xs = picture.points.map((point) => point.x);
  const ys = picture.points.map((point) => point.y);
  const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const dots = picture.points.map((point) =>
    s("circle", {
      cx: 8 + ((wide - 16) * (point.x - x0)) / (x1 - x0 || 1),
      cy: high - 8 - ((high - 16) * (point.y - y0)) / (y1 - y0 || 1),
      r: 3,
      fill: tint(picture.names[point.segment] ?? ""),
      "fill-opacity": 0.6,
    }),
  );
  return h(
    "figure",
    { class: "card" },
    h("figcaption", {}, `${number(picture.points.length)} users; those who behave alike are close together`),
    s("svg", { viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": "Users by segment" }, dots) as unknown as HTMLElement,
    h("p", { class: "legend" }, picture.names.map((name) => h("span", { class: "own" }, h("i", { class: "dot", style: { background: tint(name) } }), text(name)))),
  );
}
