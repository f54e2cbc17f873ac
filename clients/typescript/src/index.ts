// Asks a nichegraph service for recommendations, and tells it what users do.

export { Client } from "./client.js";
export type { Choice, Event, Options, Subject, UserChoice } from "./client.js";
export { Malformed, Problem, ServiceError, Unreachable } from "./errors.js";
export type { Retries } from "./retries.js";
export { pixelAddress, subjectToken } from "./signing.js";
export type { components, paths } from "./schema.js";
