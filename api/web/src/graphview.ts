// A neighbourhood as a picture: dragged, zoomed, and opened node by node.

import Graph from "graphology";
import forceAtlas2 from "graphology-layout-forceatlas2";
import type Sigma from "sigma";
import { h, replace, text } from "./dom";
import { notice, type Schema } from "./parts";
import { get, words } from "./server";
import { recolour, sigmaOn } from "./sigma";
import { colour } from "./theme";

type Kind = Schema["NodeAnswer"]["kind"];
export interface Chosen {
  kind: Kind;
  id: string;
}

const STEPS = 120; // of the layout, after each node that is opened

/** Draw a node and its neighbours; `chosen` hears of each node that is opened. */
export async function graphView(box: HTMLElement, start: Chosen, signal: AbortSignal, chosen: (node: Chosen) => void): Promise<void> {
  const graph = new Graph({ multi: true, type: "undirected" });
  const canvas = h("div", { class: "canvas", role: "img", "aria-label": "The neighbourhood as a graph; the same nodes follow as a list" });
  const state = h("p", { role: "status", class: "empty" });
  const list = h("ul", { class: "nodes", "aria-label": "Nodes of the graph" });
  const opened = new Set<string>();
  replace(box, canvas, legend(), state, h("details", { class: "node-list" }, h("summary", {}, "Nodes as a list"), list));
  let sigma: Sigma | undefined;
  signal.addEventListener("abort", () => sigma?.kill(), { once: true });

  async function open({ kind, id }: Chosen): Promise<void> {
    const key = `${kind}:${id}`;
    try {
      const part = await get("/v1/graph", {}, { kind, id, n: opened.size ? 8 : 14 }, signal);
      opened.add(key);
      add(graph, part);
      list.replaceChildren(...rows());
      state.textContent = `${graph.order} nodes, ${graph.size} edges. Click a node to open it, drag to move it.`;
      sigma ??= sigmaOn(graph, canvas, (node) => void choose(node));
      sigma.refresh();
    } catch (error) {
      const message = words(error);
      if (message) replace(state, notice(message));
    }
  }

  async function choose(key: string): Promise<void> {
    const node = { kind: key.slice(0, key.indexOf(":")) as Kind, id: key.slice(key.indexOf(":") + 1) };
    chosen(node);
    if (!opened.has(key)) await open(node);
  }

  function rows(): HTMLElement[] {
    return graph.mapNodes((key, { label, kind }) =>
      h("li", {}, h("button", { type: "button", class: `mark ${kind}`, onclick: () => void choose(key) }, text(label)), opened.has(key) && h("small", {}, " opened")),
    );
  }

  addEventListener("themechange", () => sigma && recolour(graph, sigma), { signal });
  await open(start);
}

function legend(): HTMLElement {
  return h("p", { class: "legend" }, (["item", "tag", "domain", "user"] as const).map((kind) => h("span", { class: kind }, kind)));
}

function add(graph: Graph, part: Schema["GraphAnswer"]): void {
  const middle = part.nodes[0]!;
  const from = graph.hasNode(middle.key) ? graph.getNodeAttributes(middle.key) : { x: 0, y: 0 };
  const before = new Set(graph.nodes());
  part.nodes.forEach((node, at) => {
    if (graph.hasNode(node.key)) return;
    const turn = (2 * Math.PI * at) / part.nodes.length; // no chance: the same graph, the same picture
    const reach = at === 0 ? 0 : 1.5;
    graph.addNode(node.key, {
      label: node.text.length > 36 ? `${node.text.slice(0, 35)}…` : node.text,
      kind: node.kind,
      size: at === 0 && !before.size ? 14 : 5 + 6 * node.weight,
      color: colour(node.kind),
      x: from.x + reach * Math.cos(turn),
      y: from.y + reach * Math.sin(turn),
    });
  });
  for (const edge of part.edges) {
    const key = [edge.source, edge.target].sort().join(" ") + edge.kind;
    if (!graph.hasEdge(key)) {
      graph.addEdgeWithKey(key, edge.source, edge.target, { size: 0.5 + 2 * edge.weight, weight: 0.3 + edge.weight, color: colour("line") });
    }
  }
  forceAtlas2.assign(graph, { iterations: STEPS, settings: { ...forceAtlas2.inferSettings(graph), gravity: 1, scalingRatio: 8, slowDown: 3, adjustSizes: false } });
}
