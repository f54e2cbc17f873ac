// Lines over a common axis, by uPlot, in the colours of the page.

import uPlot from "uplot";
import { colour } from "./theme";

export interface Plot {
  label: string; // what a screen reader hears
  x: number[];
  time?: boolean; // x are seconds since 1970
  xLabel?: string;
  lines: { label: string; values: (number | null)[]; colour: string; points?: boolean }[];
  high?: number;
}

export function plot(box: HTMLElement, { label, x, time = false, xLabel, lines, high = 220 }: Plot): void {
  box.setAttribute("role", "img");
  box.setAttribute("aria-label", label);
  let made: uPlot | undefined;
  const draw = () => {
    const wide = Math.max(box.clientWidth, 200);
    made?.destroy();
    const axis = { stroke: colour("dim"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line") } };
    made = new uPlot(
      {
        width: wide,
        height: high,
        scales: { x: { time } },
        axes: [{ ...axis, label: xLabel, labelSize: 20 }, { ...axis, size: 64 }],
        series: [{}, ...lines.map((line) => ({ label: line.label, stroke: colour(line.colour), width: 2, points: { show: line.points ?? false, size: 6 } }))],
        legend: { show: lines.length > 1 },
        cursor: { drag: { x: false, y: false } },
      },
      [x, ...lines.map((line) => line.values)],
      box,
    );
  };
  let last = 0;
  new ResizeObserver(() => {
    if (Math.abs(box.clientWidth - last) < 2) return;
    last = box.clientWidth;
    draw();
  }).observe(box);
  addEventListener("themechange", () => box.isConnected && draw());
}
