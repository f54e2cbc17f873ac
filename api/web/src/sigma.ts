// Sigma as every picture of a graph here uses it: the page's colours, nodes that can be dragged.

import type Graph from "graphology";
import Sigma from "sigma";
import type { NodeLabelDrawingFunction } from "sigma/rendering";
import { colour } from "./theme";

const MOST_LETTERS = 22; // of a label that is always there

/** Draw a graph whose nodes have `label`, `kind`, `size`, `color`, `x`, `y`. */
export function sigmaOn(graph: Graph, canvas: HTMLElement, clicked: (node: string) => void): Sigma {
  const sigma = new Sigma(graph, canvas, {
    labelColor: { color: colour("ink") },
    labelFont: "system-ui, sans-serif",
    labelSize: 12,
    labelRenderedSizeThreshold: 4,
    labelDensity: 2,
    defaultDrawNodeLabel: below,
    defaultDrawNodeHover: hover,
    stagePadding: 60, // room for labels
    zIndex: true,
  });
  let dragged: string | null = null;
  let moved = false;
  sigma.on("downNode", ({ node }) => {
    [dragged, moved] = [node, false];
    sigma.getCamera().disable();
  });
  sigma.on("moveBody", ({ event }) => {
    if (!dragged) return;
    moved = true;
    const at = sigma.viewportToGraph(event);
    graph.mergeNodeAttributes(dragged, { x: at.x, y: at.y });
    event.preventSigmaDefault();
  });
  for (const up of ["upNode", "upStage"] as const) {
    sigma.on(up, () => {
      dragged = null;
      sigma.getCamera().enable();
    });
  }
  sigma.on("clickNode", ({ node }) => !moved && clicked(node));
  return sigma;
}

/** The label of the node under the pointer, on the sheet's own colour. */
function hover(context: CanvasRenderingContext2D, node: { x: number; y: number; size: number; label: string | null }): void {
  if (!node.label) return;
  context.font = "600 13px system-ui, sans-serif";
  const wide = context.measureText(node.label).width;
  context.fillStyle = colour("sheet");
  context.strokeStyle = colour("line");
  context.beginPath();
  context.roundRect(node.x + node.size + 2, node.y - 11, wide + 12, 22, 5);
  context.fill();
  context.stroke();
  context.fillStyle = colour("ink");
  context.fillText(node.label, node.x + node.size + 8, node.y + 4);
}

/** The colours as they are now, dark or light. */
export function recolour(graph: Graph, sigma: Sigma): void {
  graph.updateEachNodeAttributes((_, node) => ({ ...node, color: colour(String(node.kind)) || colour("dim") }));
  graph.updateEachEdgeAttributes((_, edge) => ({ ...edge, color: colour("line") }));
  sigma.setSetting("labelColor", { color: colour("ink") });
}

/** The label of a node below it; a long one is cut, and whole while the pointer is on it. */
const below: NodeLabelDrawingFunction = (context, { label, x, y, size }, { labelSize, labelFont }) => {
  if (!label) return;
  context.font = `${labelSize}px ${labelFont}`;
  context.fillStyle = colour("ink");
  context.textAlign = "center";
  context.fillText(label.length > MOST_LETTERS ? `${label.slice(0, MOST_LETTERS - 1)}…` : label, x, y + size + labelSize + 1);
  context.textAlign = "start";
};
