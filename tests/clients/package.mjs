// Asks a running server, and a made-up one, through the package of clients/typescript; in Node and in browsers.
import { Client, Malformed, Problem, subjectToken, pixelAddress, Unreachable } from "nichegraph-client";

/** A client whose service answers so, in turn; and what was sent. */
function scripted(...outcomes) {
  const sent = [];
  const fetch = async (address, { body, headers, keepalive }) => {
    sent.push({ address, body, headers, keepalive });
    const outcome = outcomes.shift();
    if (outcome instanceof Error) throw outcome;
    return outcome;
  };
  const options = { fetch, key: "ng_1", subject: () => "token", retries: { first: 1, longest: 1500 } };
  return [new Client("http://shop/recommend/", options), sent];
}
const taken = () => Response.json({ sequence: 7 }, { status: 202 });
const failure = (promise) => promise.then(() => "no error", (error) => error);

async function lists(service, user) {
  const own = await service.recommend(user, { n: 5, reasons: true });
  const first = own.items[0].item;
  const only = await service.recommend(user, { filter: { items: [first] } });
  const many = await service.recommendToMany([{ user, n: 5 }, { items: [first] }]);
  const page = await service.popularItems({ n: 5 });
  const next = await service.popularItems({ n: 5, cursor: page.next });
  const unknown = await failure(service.similarItems("no such/item"));
  return {
    own: own.items.map((entry) => entry.item),
    reason: own.items[0].reasons[0].text.length > 0,
    only: only.items.map((entry) => entry.item) + "" === first,
    many: many.answers[0].items.map((entry) => entry.item),
    pages: [...page.items, ...next.items].map((entry) => entry.item),
    unknown: [unknown instanceof Problem, unknown.status],
  };
}

async function writes(service) {
  const event = { user: "tess", item: "item-1", kind: "play", event_id: "t-1" };
  const put = await service.putItem("a/b", { title: "New", tags: ["odd"] });
  await service.patchItem("a/b", { title: null });
  const item = await service.getItem("a/b");
  await service.putConsent("tess", { personalise: false });
  return {
    first: (await service.events([event])).results[0].status,
    again: (await service.events([event])).results[0].status,
    put: put.taken,
    item: [item.id, item.title ?? null, item.tags[0].tag],
    consent: (await service.getUser("tess")).consent,
    erased: (await service.getErasure((await service.deleteUser("tess")).sequence)).places.length > 0,
  };
}

async function retries() {
  const late = Response.json({ detail: "full" }, { status: 503, headers: { "Retry-After": "1" } });
  const [shop, sent] = scripted(new TypeError("fetch failed"), late, taken());
  const began = Date.now();
  const written = await shop.track("alice", "goldberg", "play", { keepalive: true });
  const [items, puts] = scripted(new TypeError("fetch failed"), taken());
  await items.postItems([{ id: "a" }]);
  const [wrong, once] = scripted(
    Response.json({ detail: "n: too large", errors: [{ field: "n", message: "large" }] }, { status: 400 }),
  );
  const refused = await failure(wrong.recommend("alice", { n: 5000 }));
  const [slow, asked] = scripted(Response.json({}, { status: 429, headers: { "Retry-After": "3600" } }));
  const [gone] = scripted(...Array(4).fill(new TypeError("fetch failed")));
  const [proxy] = scripted(new Response("<html>"));
  const [ids, paths] = scripted(Response.json({}));
  await ids.getUser("a/b?c#d");
  return {
    sequence: written.sequence,
    sameBody: new Set(sent.map(({ body }) => body)).size === 1 && sent[0].body.includes("event_id"),
    keepalive: sent.every(({ keepalive }) => keepalive),
    headers: [sent[0].headers.Authorization, sent[0].headers["X-Subject"]],
    waited: Date.now() - began >= 1000,
    sameKey: puts[0].headers["Idempotency-Key"] === puts[1].headers["Idempotency-Key"],
    refused: [refused.status, refused.errors[0].field, once.length],
    slow: [(await failure(slow.popularItems())).status, asked.length],
    gone: (await failure(gone.popularItems())) instanceof Unreachable,
    proxy: (await failure(proxy.popularItems())) instanceof Malformed,
    dots: (await failure((async () => ids.getUser(".."))())).message,
    path: paths[0].address,
  };
}

/** Everything that was seen, for the service at an address and one of its users. */
export async function tried(address, user) {
  const service = new Client(address);
  return {
    methods: Object.getOwnPropertyNames(Client.prototype),
    lists: await lists(service, user),
    writes: await writes(service),
    retries: await retries(),
    token: await subjectToken("secret", "älice", 1760000000),
    pixel: await pixelAddress("http://shop/", "1f2e3d4c", "secret", { user: "a", item: "b", event_id: "c" }, 9),
  };
}

if (globalThis.process) console.log(JSON.stringify(await tried(...process.argv.slice(2))));
