// How the service does: how long its routes take, how often an answer was kept, what waits for the store.

import { h, replace } from "./dom";
import { counted, empty, number, percent, tableOf, type Schema } from "./parts";
import { plain } from "./server";

const EVERY = 5000; // milliseconds between two looks, while somebody looks
const SHOWN = 12; // routes

/** One line of Prometheus's text format. */
interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

/** The samples of a text in Prometheus's format. */
export function samples(text: string): Sample[] {
  return [...text.matchAll(/^(\w+)(?:\{(.*)\})? (\S+)/gm)].map(([, name, labels = "", value]) => ({
    name: name!,
    labels: Object.fromEntries([...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key, own]) => [key!, own!.replace(/\\(.)/g, "$1")])),
    value: Number(value),
  }));
}

/** Seconds below which a share of the requests stays; within a bucket they count as evenly spread. */
export function quantile(buckets: [below: number, count: number][], share: number): number | null {
  const sorted = [...buckets].sort(([a], [b]) => a - b);
  const wanted = share * (sorted.at(-1)?.[1] ?? 0);
  if (!wanted) return null;
  let [from, before] = [0, 0];
  for (const [below, count] of sorted) {
    if (count >= wanted) return Number.isFinite(below) ? from + ((below - from) * (wanted - before)) / (count - before) : from;
    [from, before] = [below, count];
  }
  return from;
}

export async function drawTraffic(box: HTMLElement, signal: AbortSignal): Promise<void> {
  const body = h("div");
  replace(box, h("h2", {}, "How it is doing"), body);
  await again(signal, async () => {
    const read = samples(await plain("/metrics", signal));
    replace(body, routes(read), h("dl", { class: "facts" }, facts(read).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])));
  });
}

/** Draw now, and again as long as somebody looks; the last figures stay while the server is away. */
export async function again(signal: AbortSignal, draw: () => Promise<void>): Promise<void> {
  await draw();
  const timer = setInterval(() => draw().catch(() => {}), EVERY);
  signal.addEventListener("abort", () => clearInterval(timer), { once: true });
}

/** Requests since the server was started, route by route, the most asked first. */
function routes(read: Sample[]): HTMLElement {
  const requests = read.filter(({ name, labels }) => name === "nichegraph_requests_total" && labels.route!.startsWith("/v1/"));
  const routeOf = ({ labels }: Sample) => `${labels.method} ${labels.route}`;
  const sum = (some: Sample[]) => some.reduce((all, { value }) => all + value, 0);
  const rows = [...new Set(requests.map(routeOf))]
    .map((route) => ({ route, all: requests.filter((own) => routeOf(own) === route) }))
    .map(({ route, all }) => ({ route, count: sum(all), failed: sum(all.filter(({ labels }) => labels.status!.startsWith("5"))) }))
    .sort((a, b) => b.count - a.count)
    .slice(0, SHOWN);
  if (!rows.length) return empty("No requests yet.");
  const time = (route: string, share: number) => {
    const own = read.filter((sample) => sample.name === "nichegraph_request_seconds_bucket" && routeOf(sample) === route);
    const seconds = quantile(own.map(({ labels, value }) => [labels.le === "+Inf" ? Infinity : Number(labels.le), value]), share);
    return seconds === null ? "–" : `${(1000 * seconds).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
  };
  return tableOf(
    "Requests since the server was started",
    ["Route", "Requests", "Failed", "Half within", "99% within"],
    rows.map(({ route, count, failed }) => [route, number(count), failed ? `${number(failed)} (${percent(failed / count, 1)})` : "0", time(route, 0.5), time(route, 0.99)]),
  );
}

function facts(read: Sample[]): [string, string][] {
  const of = (name: string, outcome = "") => read.filter((own) => own.name === name && (!outcome || own.labels.outcome === outcome)).reduce((sum, { value }) => sum + value, 0);
  const [hits, shared, misses] = [of("nichegraph_cache_total", "hits"), of("nichegraph_cache_total", "shared_hits"), of("nichegraph_cache_total", "misses")];
  const looked = hits + shared + misses;
  return [
    ["Kept answers", looked ? `${percent((hits + shared) / looked, 1)} of ${number(looked)} lists` : "no lists yet"],
    ["Refused by limits", number(of("nichegraph_refused_total"))],
  ];
}

/** What waits in the inbox, in words. */
export function waits(inbox: Schema["ReadyAnswer"]["inbox"]): string {
  const { waiting, oldest_seconds: oldest, aside, problem, closed } = inbox as Record<string, number | string | null | undefined>;
  const words = [waiting ? `${counted(Number(waiting), "fact waits", "facts wait")} for the store, the oldest for ${oldest ?? 0} s` : "nothing waits for the store"];
  if (aside) words.push(`it refused ${number(Number(aside))}`);
  if (problem) words.push(String(problem));
  if (closed) words.push(`writes are refused: ${closed}`);
  return words.join("; ");
}
