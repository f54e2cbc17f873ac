// What the manifests of the releases hold, read as far as the page shows it.

import { get } from "./server";

export interface Point {
  relevance: number;
  diversity: number;
  long_tail: number;
  freshness: number;
  shown_ndcg: number;
  shown_long_tail_share: number;
  shown_coverage: number;
  shown_diversity: number;
}

export interface Curve {
  users: number;
  neutral: Point;
  curve: Point[];
  chosen: number;
}

/** What the gates said: NDCG@20 of the candidate and its rivals, in each part. */
export interface Gates {
  passed: boolean;
  forced: boolean;
  reasons: { gate: string; text: string }[];
  notes: string[];
  figures: { part: string; users: number; candidate: number; rivals: Record<string, { mean: number }> }[];
}

export interface Manifest {
  name: string;
  current: boolean;
  created_at: number;
  watermark: number;
  counts: Record<string, number>;
  pinned?: boolean;
  report: boolean;
  damaged?: string;
  refused?: string;
  gates?: Gates;
  drift?: { vectors?: Record<string, { "jaccard@10": number | null }> } | null;
  segments?: { profiles?: Record<string, Curve>; segments?: Record<string, unknown>[] };
  [key: string]: unknown;
}

/** Every release that lies in the home, oldest first, and the candidates that were refused. */
export async function everyRelease(signal?: AbortSignal): Promise<{ published: Manifest[]; refused: Manifest[] }> {
  const answer = await get("/v1/releases", {}, {}, signal);
  return { published: answer.releases as unknown as Manifest[], refused: answer.refused as unknown as Manifest[] };
}

/** The curves of the release that is served, by profile; empty where none were learned. */
export async function curves(signal?: AbortSignal): Promise<Record<string, Curve>> {
  const { published } = await everyRelease(signal);
  return curvesOf(published.find((release) => release.current));
}

/** The curves of a release, by profile. */
export function curvesOf(release: Manifest | undefined): Record<string, Curve> {
  return release?.segments?.profiles ?? {};
}

/** What was measured at a place of a curve, 0 … 1 along its long-tail share, as the server counts it. */
export function along(curve: Curve, share: number): Point {
  const points = curve.curve;
  const first = points[0]!.shown_long_tail_share;
  const span = points.at(-1)!.shown_long_tail_share - first;
  const at = points.map((point, index) =>
    span > 0 ? (point.shown_long_tail_share - first) / span : index / Math.max(points.length - 1, 1),
  );
  const after = Math.max(1, at.findIndex((own) => own >= share));
  const a = points[after - 1]!;
  const b = points[after] ?? a;
  const width = (at[after] ?? 0) - (at[after - 1] ?? 0);
  const t = width > 0 ? (share - at[after - 1]!) / width : 0;
  const mixed = Object.keys(a).map((name) => {
    const [from, to] = [a[name as keyof Point], b[name as keyof Point]];
    return [name, typeof from === "number" ? from + t * (to - from) : from];
  });
  return Object.fromEntries(mixed) as Point;
}
