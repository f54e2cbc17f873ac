// Editorial rules: as they stand, tried on users beside them, and saved.

import { h, replace, text } from "./dom";
import { field, notice } from "./parts";
import { may } from "./scopes";
import { change, get, post, words } from "./server";

const EXAMPLE = `[[rule]]
name = "two of a kind"
do = "limit"
by = "domain"
most = 2
`;

export async function drawRules(box: HTMLElement, signal: AbortSignal): Promise<void> {
  const input = h("textarea", { rows: 9, spellcheck: "false", dir: "ltr", class: "code", placeholder: EXAMPLE });
  const result = h("div", { role: "status" });
  const trying = h("button", { type: "button" }, "Try them on users");
  const saving = h("button", { type: "button", class: "quiet" }, "Save");
  let version = "";
  const doing = (button: HTMLButtonElement, what: () => Promise<void>) =>
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        await what();
      } catch (error) {
        const message = words(error);
        if (message) replace(result, notice(message));
      }
      button.disabled = false;
    });
  doing(trying, async () => {
    const answer = await post("/v1/rules/check", { rules: input.value }, signal);
    replace(result, effects(answer.rows), answer.notes.length > 0 && h("ul", { class: "notes" }, answer.notes.map((note) => h("li", {}, text(note)))));
  });
  doing(saving, async () => {
    ({ version } = await change("put", "/v1/rules", {}, { rules: input.value, version }));
    replace(result, h("p", {}, "Saved. Every worker follows them within a second."));
  });
  replace(
    box,
    h("h2", {}, "Editorial rules"),
    h("p", {}, "Try them first, and see what they would change and cost on a sample of users. Nobody else sees them until you save."),
    field("Rules, as in rules.toml", input),
    h("div", { class: "row" }, trying, may("admin") && saving),
    result,
  );
  if (!may("admin")) return void (input.value = EXAMPLE);
  const now = await get("/v1/rules", {}, {}, signal);
  version = now.version;
  input.value = now.rules || EXAMPLE;
  if (now.problem) replace(result, notice(`These rules are not followed. ${now.problem}`));
}

function effects(rows: { rule: string; do: string; changed: number; new: number; cost: number }[]): HTMLElement {
  const share = (value: number) => h("td", { class: "figure" }, `${(100 * value).toFixed(1)}%`);
  return h(
    "table",
    {},
    h("thead", {}, h("tr", {}, ["Rule", "Does", "Lists changed", "New in a list", "Relevance given up"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, h("th", { scope: "row" }, text(row.rule)), h("td", {}, row.do), share(row.changed), share(row.new), share(row.cost)))),
  );
}
