// Asks a running server through a client that openapi-typescript made from its description.
import createClient from "openapi-fetch";
import type { paths } from "./schema.d.ts";

declare const process: { argv: string[] };
const [address, user] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl: address });

async function ask() {
  const own = await client.GET("/v1/users/{user}/recommendations", {
    params: { path: { user }, query: { n: 5, filter: JSON.stringify({ not: { items: ["x"] } }) } },
  });
  const many = await client.POST("/v1/recommendations", {
    body: {
      subjects: [{ user, n: 5 }, { items: [own.data!.items[0].item], context: { device: "phone" } }],
    },
  });
  const first = await client.GET("/v1/popular", { params: { query: { n: 5 } } });
  const second = await client.GET("/v1/popular", {
    params: { query: { n: 5, cursor: first.data!.next! } },
  });
  const wrong = await client.GET("/v1/items/{item}/similar", {
    params: { path: { item: "no such/item" } },
  });
  console.log(
    JSON.stringify({
      own: own.data!.items.map((one) => one.item),
      many: many.data!.answers.map((answer) => answer.items.map((one) => one.item)),
      pages: [...first.data!.items, ...second.data!.items].map((one) => one.item),
      wrong: [wrong.error!.status, wrong.error!.errors?.length ?? 0],
    }),
  );
}

ask();
