// When a request is sent again, and after how long. Every request of this client may be repeated:
// reading changes nothing, PUT, PATCH and DELETE say how things are to be, events carry an event_id,
// and lists of items an Idempotency-Key.

const REPEATED = [429, 502, 503, 504]; // statuses that say: later

export interface Retries {
  /** How often a request is tried. */
  tries: number;
  /** Milliseconds before the second try; twice as long each time, drawn from its half up. */
  first: number;
  /** Milliseconds; if the service asks for a longer wait, its refusal is thrown. */
  longest: number;
}

export const USUAL: Retries = { tries: 4, first: 200, longest: 30_000 };

/** Milliseconds before the next try; null: the outcome stands. `tried` counts from 1. */
export function pauseAfter(retries: Retries, answer: Response | null, tried: number): number | null {
  if (tried >= retries.tries || (answer && !REPEATED.includes(answer.status))) return null;
  const asked = answer ? milliseconds(answer.headers.get("Retry-After") ?? "", Date.now()) : 0;
  if (asked > retries.longest) return null;
  const pause = retries.first * 2 ** (tried - 1) * (0.5 + Math.random() / 2);
  return Math.min(Math.max(pause, asked), retries.longest);
}

/** What a Retry-After asks for: seconds or a date; 0 where it says nothing. */
export function milliseconds(retryAfter: string, now: number): number {
  if (/^\s*\d+\s*$/.test(retryAfter)) return Number(retryAfter) * 1000;
  const date = Date.parse(retryAfter);
  return Number.isNaN(date) ? 0 : Math.max(0, date - now);
}
