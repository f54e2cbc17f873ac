// The nodes and relationships of a query's rows, drawn.

import Graph from "graphology";
import forceAtlas2 from "graphology-layout-forceatlas2";
import { sigmaOn } from "./sigma";
import { colour } from "./theme";

interface Node {
  node: string;
  label: string;
  properties: Record<string, unknown>;
}
interface Link {
  relationship: string;
  type?: string;
  from: string;
  to: string;
}

const MOST = 300; // nodes; more is no picture

/** Draw what is in the rows; false where they hold no nodes, or too many. */
export function resultGraph(box: HTMLElement, rows: unknown[][], signal: AbortSignal): boolean {
  const [nodes, links] = [new Map<string, Node>(), new Map<string, Link>()];
  collect(rows, nodes, links);
  if (!nodes.size || nodes.size > MOST) return false;
  const graph = new Graph({ multi: true, type: "undirected" });
  [...nodes.values()].forEach(({ node, label, properties }, at) => {
    const name = String(properties.title ?? properties.name ?? properties.id ?? label);
    const turn = (2 * Math.PI * at) / nodes.size;
    graph.addNode(node, { label: name.length > 36 ? `${name.slice(0, 35)}…` : name, kind: label.toLowerCase(), color: colour(label.toLowerCase()) || colour("dim"), size: 6, x: Math.cos(turn), y: Math.sin(turn) });
  });
  for (const link of links.values()) {
    if (nodes.has(link.from) && nodes.has(link.to)) graph.addEdgeWithKey(link.relationship, link.from, link.to, { size: 1, color: colour("line") });
  }
  forceAtlas2.assign(graph, { iterations: 150, settings: { ...forceAtlas2.inferSettings(graph), gravity: 1, scalingRatio: 8, slowDown: 3 } });
  box.className = "canvas";
  box.setAttribute("role", "img");
  box.setAttribute("aria-label", `${nodes.size} nodes of the result; the table below holds the same`);
  requestAnimationFrame(() => {
    if (!box.isConnected || signal.aborted) return;
    const sigma = sigmaOn(graph, box, () => undefined);
    signal.addEventListener("abort", () => sigma.kill(), { once: true });
  });
  return true;
}

function collect(value: unknown, nodes: Map<string, Node>, links: Map<string, Link>): void {
  if (Array.isArray(value)) value.forEach((part) => collect(part, nodes, links));
  else if (value && typeof value === "object") {
    if ("node" in value && "label" in value) nodes.set(String((value as Node).node), value as Node);
    else if ("relationship" in value && "from" in value) links.set(String((value as Link).relationship), value as Link);
    else Object.values(value).forEach((part) => collect(part, nodes, links));
  }
}
