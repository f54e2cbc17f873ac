// How often what was shown is clicked: by source, release and more, with the interval of each rate.

import { h, replace, s, text } from "./dom";
import { choice, counted, empty, field, heading, notice, number, percent, type Schema } from "./parts";
import { get, words } from "./server";

type Rate = Schema["RateAnswer"];
type By = keyof Schema["RatesAnswer"];

const BY: Record<By, string> = { source: "by source", release: "by release", segment: "by segment", rule: "by rule", position: "by place in the list" };
const DAYS: [string, string][] = [["1", "last day"], ["7", "last 7 days"], ["30", "last 30 days"], ["", "all"]];
const [WIDE, HIGH] = [160, 14];

export async function drawClicks(box: HTMLElement, signal: AbortSignal): Promise<void> {
  const result = h("div", { role: "status" });
  let [by, days]: [By, string] = ["source", "30"];
  const draw = async () => {
    try {
      const answer = await get("/v1/online", {}, { days }, signal);
      replace(result, rates(answer, by));
    } catch (error) {
      const message = words(error);
      if (message) replace(result, notice(message));
    }
  };
  replace(
    box,
    h("h2", {}, "Clicks"),
    h(
      "div",
      { class: "knobs" },
      field("Click rates", choice(Object.entries(BY), by, (value) => ((by = value as By), void draw()))),
      field("Shown in the", choice(DAYS, days, (value) => ((days = value), void draw()))),
    ),
    result,
  );
  await draw();
}

function rates(answer: Schema["OnlineAnswer"], by: By): (HTMLElement | null)[] {
  const rows = answer.by[by];
  const left = answer.left_out ? h("p", { class: "by" }, `${counted(answer.left_out, "group", "groups")} of fewer than 20 people ${answer.left_out === 1 ? "is" : "are"} left out.`) : null;
  if (!rows.length) return [empty("No group has 20 people yet. Impressions and clicks come from the tracking snippet, or from POST /v1/events."), left];
  const most = Math.max(...rows.map((row) => row.high));
  return [
    h(
      "div",
      { class: "wide", tabindex: "0", role: "region", "aria-label": "Click rates" },
      h(
        "table",
        {},
        heading([BY[by].replace("by ", ""), "shown", "clicked", "rate", "95% interval", ""], 1),
        h("tbody", {}, rows.map((row) => line(row, most))),
      ),
    ),
    left,
  ];
}

function line(row: Rate, most: number): HTMLElement {
  const figure = (words: string) => h("td", { class: "figure" }, words);
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, text(row.name)),
    figure(number(row.shown)),
    figure(number(row.clicked)),
    figure(percent(row.rate, 1)),
    figure(`${percent(row.low, 1)} – ${percent(row.high, 1)}`),
    h("td", { class: "bar-of" }, interval(row, most) as unknown as HTMLElement),
  );
}

/** The rate as a dot on its interval; the longest of the table is as wide as there is room. */
function interval(row: Rate, most: number): SVGElement {
  const at = (rate: number) => 4 + ((WIDE - 8) * rate) / (most || 1);
  const middle = HIGH / 2;
  return s(
    "svg",
    { viewBox: `0 0 ${WIDE} ${HIGH}`, width: WIDE, height: HIGH, "aria-hidden": "true" },
    s("line", { x1: at(row.low), x2: at(row.high), y1: middle, y2: middle, stroke: "var(--dim)", "stroke-width": 2 }),
    s("circle", { cx: at(row.rate), cy: middle, r: 4, fill: "var(--accent)" }),
  );
}
