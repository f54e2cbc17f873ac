// What an application's server signs for its visitors: tokens for pages, addresses for e-mails. Both use
// the signing secret that was shown with a key made by `nichegraph keys create --signed`. Keep it out
// of pages: whoever has it can speak for everybody.

/** The X-Subject of a visitor's page: valid for this user, for a day at most; seconds since 1970. */
export function subjectToken(secret: string, user: string, expiresAt: number): Promise<string> {
  return signed(secret, { user, exp: expiresAt });
}

/** The address of an image for an e-mail; loading it tells the service of one event. */
export async function pixelAddress(
  service: string,
  keyId: string,
  secret: string,
  event: { user: string; item: string; event_id: string; kind?: string },
  expiresAt: number,
): Promise<string> {
  const token = await signed(secret, { pixel: event, exp: expiresAt });
  return `${service.replace(/\/+$/, "")}/v1/pixel/${encodeURIComponent(keyId)}/${token}.gif`;
}

async function signed(secret: string, claims: object): Promise<string> {
  const encoder = new TextEncoder();
  const hmac = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", encoder.encode(secret), hmac, false, ["sign"]);
  const payload = encoder.encode(JSON.stringify(claims));
  return `${text(payload)}.${text(new Uint8Array(await crypto.subtle.sign("HMAC", key, payload)))}`;
}

function text(bytes: Uint8Array): string {
  const binary = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}
