// What can go wrong.
//
// ServiceError
// ├── Unreachable   nobody answered, however often it was tried
// ├── Problem       the service refused: a status, a sentence, and the fields that are wrong
// └── Malformed     the answer is not JSON

export class ServiceError extends Error {
  override name = "ServiceError";
}

export class Unreachable extends ServiceError {
  override name = "Unreachable";
}

export class Malformed extends ServiceError {
  override name = "Malformed";
}

export class Problem extends ServiceError {
  override name = "Problem";
  readonly status: number;
  readonly detail: string;
  readonly errors: { field: string; message: string }[];

  constructor(status: number, text: string) {
    const content = parsed(text);
    const detail = String(content?.detail ?? (text.slice(0, 300) || "no reason given"));
    super(`${status}: ${detail}`);
    this.status = status;
    this.detail = detail;
    this.errors = Array.isArray(content?.errors) ? content.errors : [];
  }
}

type Refusal = { detail?: unknown; errors?: { field: string; message: string }[] };

function parsed(text: string): Refusal | null {
  try {
    const content: unknown = JSON.parse(text);
    return content !== null && typeof content === "object" ? content : null;
  } catch {
    return null;
  }
}
