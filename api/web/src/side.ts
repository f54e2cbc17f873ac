// One side of Recommend: whose list it is and how it is made, in the address and in a request.

import { h, replace, text } from "./dom";
import { conditions, type Filters } from "./filters";
import { choice, field, type Schema } from "./parts";
import { along, type Curve, type Manifest, type Point } from "./releases";

const TIMES = ["night", "morning", "afternoon", "evening"]; // UTC

export type Release = Pick<Manifest, "name" | "current" | "refused">;

export interface Side {
  user: string;
  items: string[];
  tags: string[];
  profile: string; // "" is that of the segment
  device: string; // "" is none in particular
  time: string; // of the day; "" is now
  release: string; // "" is the one that is served
  longTail: number | null; // null is as the profile has it
  diversity: number | null;
  freshness: number | null;
  measured: (curve: Curve) => Point;
}

export function read(params: URLSearchParams, prefix: string): Side {
  const share = (name: string) => (params.has(prefix + name) ? Math.min(1, Math.max(0, Number(params.get(prefix + name)) || 0)) : null);
  return {
    user: params.get(`${prefix}user`) ?? "",
    items: params.getAll(`${prefix}item`),
    tags: params.getAll(`${prefix}tag`),
    profile: params.get(`${prefix}profile`) ?? "",
    device: params.get(`${prefix}device`) ?? "",
    time: params.get(`${prefix}time`) ?? "",
    release: params.get(`${prefix}release`) ?? "",
    longTail: share("long_tail"),
    diversity: share("diversity"),
    freshness: share("freshness"),
    measured(curve) {
      if (this.profile === "neutral") return curve.neutral;
      return this.longTail === null ? curve.curve[curve.chosen]! : along(curve, this.longTail);
    },
  };
}

export function write(side: Side, prefix: string): Record<string, string | string[]> {
  const numbers = { long_tail: side.longTail, diversity: side.diversity, freshness: side.freshness };
  return {
    [`${prefix}user`]: side.user,
    [`${prefix}item`]: side.items,
    [`${prefix}tag`]: side.tags,
    [`${prefix}profile`]: side.profile,
    [`${prefix}device`]: side.device,
    [`${prefix}time`]: side.time,
    [`${prefix}release`]: side.release,
    ...Object.fromEntries(Object.entries(numbers).map(([name, value]) => [prefix + name, value === null ? "" : String(value)])),
  };
}

/** As POST /v1/recommendations takes it. */
export function subject(side: Side, filters: Filters, n: number): Record<string, unknown> {
  return {
    ...(side.user && { user: side.user }),
    items: side.items,
    tags: side.tags,
    n,
    filter: conditions(filters),
    ...(side.profile && { profile: side.profile }),
    ...((side.device || side.time) && { context: { ...(side.device && { device: side.device }), ...(side.time && { time: side.time }) } }),
    ...(side.longTail !== null && { long_tail: side.longTail }),
    ...(side.diversity !== null && { diversity: side.diversity }),
    ...(side.freshness !== null && { freshness: side.freshness }),
  };
}

/** Who the list is for, each part with a way to take it out. */
export function subjectChips(side: Side, changed: () => void): HTMLElement {
  const chip = (kind: string, name: string, drop: () => void) =>
    h(
      "li",
      { class: `chip ${kind}` },
      h("small", {}, kind),
      text(name),
      h("button", { type: "button", "aria-label": `Remove ${name}`, onclick: () => (drop(), changed()) }, "×"),
    );
  const without = (names: string[], at: number) => () => void names.splice(at, 1);
  return h(
    "ul",
    { class: "chips", "aria-label": "Whose list" },
    side.user && chip("user", side.user, () => (side.user = "")),
    side.items.map((name, at) => chip("item", name, without(side.items, at))),
    side.tags.map((name, at) => chip("tag", name, without(side.tags, at))),
    !side.user && !side.items.length && !side.tags.length && h("li", { class: "empty" }, "Nobody in particular: what is popular."),
  );
}

/** Profile, device, time of the day, release and sliders; `answer` tells what holds where nothing is chosen. */
export function knobs(side: Side, answer: Schema["ListAnswer"], learned: Record<string, Curve>, releases: Release[], changed: () => void): HTMLElement[] {
  const names = [...new Set(["", "neutral", "default", ...Object.keys(learned), side.profile])];
  const label = (name: string) => (name === "" ? "of the segment" : name);
  const profile = choice(names.map((name) => [name, label(name)]), side.profile, (value) => ((side.profile = value), changed()));
  const device = choice([["", "any"], ["phone", "phone"], ["tablet", "tablet"], ["desktop", "desktop"], ["tv", "TV"]], side.device, (value) => ((side.device = value), changed()));
  const time = choice([["", "now"], ...TIMES.map((name): [string, string] => [name, name])], side.time, (value) => ((side.time = value), changed()));
  return [
    h(
      "div",
      { class: "knobs" },
      field("Profile", profile, side.profile ? "" : `here: ${answer.profile}`),
      field("Device", device),
      field("Time of day", time),
      releases.length > 1 && field("Release", ofReleases(side, releases, changed)),
      slider("Long tail", side.longTail, (value) => ((side.longTail = value), changed())),
      slider("Diversity", side.diversity, (value) => ((side.diversity = value), changed())),
      slider("Freshness", side.freshness, (value) => ((side.freshness = value), changed())),
    ),
    h("p", { class: "cost", role: "status" }),
  ];
}

function ofReleases(side: Side, releases: Release[], changed: () => void): HTMLSelectElement {
  const others = releases.filter((own) => !own.current).map((own): [string, string] => [own.name, own.refused === undefined ? own.name : `${own.name} (refused)`]);
  return choice([["", "served now"], ...others.reverse()], side.release, (value) => ((side.release = value), changed()));
}

function slider(label: string, value: number | null, moved: (value: number | null) => void): HTMLElement {
  const input = h("input", { type: "range", min: 0, max: 1, step: 0.05, value: value ?? 0 });
  const shown = h("output");
  const reset = h("button", { type: "button", class: "quiet small", "aria-label": `${label} as the profile has it`, title: "As the profile has it" }, "↺");
  const tell = (now: number | null) => {
    replace(shown, now === null ? "auto" : now.toFixed(2));
    input.classList.toggle("auto", now === null);
    input.setAttribute("aria-valuetext", now === null ? "as in the profile" : now.toFixed(2));
    reset.hidden = now === null;
  };
  input.addEventListener("input", () => (tell(input.valueAsNumber), moved(input.valueAsNumber)));
  reset.addEventListener("click", () => ((input.value = "0"), tell(null), input.focus(), moved(null)));
  tell(value);
  const made = field(label, input);
  made.classList.add("slider");
  made.append(shown, reset);
  return made;
}
