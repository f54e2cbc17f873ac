// Console: Cypher that can only read, ready-made questions, rows as a table, as a graph, as CSV.

import { link, remember } from "./address";
import { editor } from "./cypher";
import { h, replace, text } from "./dom";
import type { View } from "./main";
import { choice, empty, field, notice, number, type Schema } from "./parts";
import { get, post, words } from "./server";

export const cypherConsole: View = async (box, params, signal) => {
  const known = await get("/v1/cypher/questions", {}, {}, signal);
  const frame = h("div", { class: "editor" });
  const parameters = h("input", { dir: "ltr", class: "code", spellcheck: "false", value: params.get("parameters") ?? "{}" });
  const result = h("div", { class: "result", role: "region", "aria-label": "Result", "aria-busy": "false" });
  const sentence = h("p", { class: "by" });
  const first = params.get("query") ?? known.questions[0]!.query;

  async function run(): Promise<void> {
    remember("console", { query: edit.text(), parameters: parameters.value });
    result.setAttribute("aria-busy", "true");
    try {
      const answer = await post("/v1/cypher", { query: edit.text(), parameters: JSON.parse(parameters.value || "{}") }, signal);
      replace(result, await rows(answer, signal));
    } catch (error) {
      if (error instanceof SyntaxError) replace(result, notice(`The parameters are not a JSON object: ${error.message}`));
      else {
        const message = words(error);
        if (message) replace(result, notice(message));
      }
    }
    result.setAttribute("aria-busy", "false");
  }

  const picked = choice([["", "A ready-made question …"], ...known.questions.map((own): [string, string] => [own.name, own.title])], "", (name) => {
    const question = known.questions.find((own) => own.name === name);
    if (!question) return;
    edit.set(question.query);
    parameters.value = JSON.stringify(question.parameters);
    sentence.textContent = question.sentence;
    void run();
  });
  replace(
    box,
    h("div", { class: "head" }, h("h1", {}, "Console")),
    field("Question", picked),
    sentence,
    frame,
    h("div", { class: "row ask" }, field("Parameters, as JSON", parameters), h("button", { type: "button", onclick: () => void run() }, "Run"), h("small", {}, "Ctrl-Enter. It can only read; users are pseudonyms.")),
    result,
  );
  const edit = editor(frame, first, known.words, () => void run());
  if (!params.has("query")) parameters.value = JSON.stringify(known.questions[0]!.parameters);
  if (params.has("query")) await run();
};

async function rows(answer: Schema["RowsAnswer"], signal: AbortSignal): Promise<(HTMLElement | null)[]> {
  const summary = h("p", { class: "by" }, `${number(answer.rows.length)} rows in ${Math.round(answer.ms)} ms`, answer.truncated && ", cut off at the limit", ". ");
  if (!answer.rows.length) return [summary, empty("No rows.")];
  summary.append(download(answer));
  const graph = h("div", { class: "picture" });
  const { resultGraph } = await import("./resultgraph");
  const drawn = resultGraph(graph, answer.rows, signal);
  return [summary, drawn ? graph : null, h("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Table of rows" }, table(answer))];
}

function table({ columns, rows: all }: Schema["RowsAnswer"]): HTMLElement {
  const figures = columns.map((_, at) => all.some((row) => typeof row[at] === "number") && "figure");
  return h(
    "table",
    {},
    h("thead", {}, h("tr", {}, columns.map((name, at) => h("th", { scope: "col", class: figures[at] }, text(name))))),
    h("tbody", {}, all.map((row) => h("tr", {}, row.map((value, at) => h("td", { class: figures[at] }, cell(value)))))),
  );
}

function cell(value: unknown): Node {
  if (value === null || value === undefined) return h("span", { class: "empty" }, "–");
  if (typeof value === "object") {
    const own = value as { properties?: { id?: string; title?: string; name?: string }; label?: string };
    
    const name = own.properties?.title ?? own.properties?.name ?? own.properties?.id;
    if (name && own.label === "Item" && own.properties?.id) return h("a", { href: link("explore", { item: own.properties.id }) }, text(name));
    return text(name ?? JSON.stringify(value));
  }
  return text(String(value));
}

/** The rows as CSV; a cell that a spreadsheet would run as a formula is quoted as text. */
function download(answer: Schema["RowsAnswer"]): HTMLElement {
  const quoted = (value: unknown) => {
    const raw = value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
    const safe = typeof value !== "number" && /^[=+\-@\t\r]/.test(raw) ? `'${raw}` : raw;
    return `"${safe.replaceAll('"', '""')}"`;
  };
  const lines = [answer.columns, ...answer.rows].map((row) => row.map(quoted).join(","));
  const button = h("button", { type: "button", class: "quiet small" }, "CSV");
  button.addEventListener("click", () => {
    const url = URL.createObjectURL(new Blob([`${lines.join("\r\n")}\r\n`], { type: "text/csv" }));
    h("a", { href: url, download: "rows.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  });
  return button;
}
