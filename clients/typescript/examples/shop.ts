// A small application: shows a visitor a list, counts a click, and shows what changed.
//
//   node shop.js http://127.0.0.1:8000 alice
//
// The environment variable NICHEGRAPH_KEY holds the API key, where the service has keys.

import { Client, ServiceError } from "nichegraph-client";

declare const process: { argv: string[]; env: Record<string, string>; exitCode: number };

async function main(address: string, visitor: string): Promise<void> {
  const service = new Client(address, { key: process.env.NICHEGRAPH_KEY });
  const before = await service.recommend(visitor, { n: 5 });
  for (const entry of before.items) {
    const reason = entry.reasons[0];
    console.log(`${entry.title || entry.item}${reason ? ` - ${reason.text}` : ""}`);
  }
  const first = before.items[0];
  if (!first) throw new ServiceError("the catalogue is empty");
  await service.track(visitor, first.item, "play");
  await new Promise((done) => setTimeout(done, 1000)); // by then every worker has heard of it
  const after = await service.recommend(visitor, { n: 5 });
  console.log(`\nAfter ${first.title || first.item}:`);
  for (const entry of after.items) console.log(entry.title || entry.item);
}

const [address = "http://127.0.0.1:8000", visitor = "alice"] = process.argv.slice(2);
main(address, visitor).catch((error) => {
  if (!(error instanceof ServiceError)) throw error;
  console.error(`The shop goes on without recommendations: ${error.message}`);
  process.exitCode = 1;
});
