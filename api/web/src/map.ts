// The map of the catalogue: drag, zoom, the names of regions, what is searched or chosen lit up.

import { link } from "./address";
import { h, replace, text } from "./dom";
import { empty, notice, number, searchBox } from "./parts";
import { type Camera, type Look, Nearest, parse, PointLayer, type Points } from "./points";
import { bytes, get, words } from "./server";
import { isDark } from "./theme";

const NEAR = 10; // pixels around the pointer
const MOST_LIT = 100; // items of one search

export async function map(box: HTMLElement, params: URLSearchParams, signal: AbortSignal): Promise<void> {
  const about = await get("/v1/map", {}, {}, signal);
  if (!about.items) return replace(box, empty("The catalogue is empty: load items first, then refresh."));
  const points = parse(await bytes("/v1/map/points", { release: about.release }, signal), about.items);

  const canvas = h("canvas", { tabindex: "0", role: "img", "aria-label": `Map of ${number(about.items)} items. Arrow keys move it, plus and minus zoom; the same items can be searched above.` });
  const names = h("div", { class: "regions", "aria-hidden": "true" });
  const card = h("a", { class: "tip", hidden: true });
  const state = h("p", { class: "lit-state", role: "status" });
  const frame = h("div", { class: "map" }, canvas, names, card);
  const layer = PointLayer.on(canvas, points);
  if (!layer) return replace(box, notice("The map needs WebGL 2, which this browser does not have."));
  const nearest = new Nearest(points);
  const camera: Camera = { x: 0, y: 0, scale: 1 };
  const look: Look = { dark: isDark(), tail: false, lit: false };
  let waiting = false;

  function draw(): void {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      if (signal.aborted) return;
      layer!.draw(camera, look);
      label(names, about.regions, camera, canvas);
    });
  }

  function fit(): void {
    Object.assign(camera, { x: 0, y: 0, scale: Math.min(canvas.clientWidth, canvas.clientHeight) / 2.4 });
    draw();
  }

  async function light(query: { item?: string[]; user?: string }, what: string): Promise<void> {
    try {
      const { items } = await get("/v1/map/items", {}, query, signal);
      layer!.light(items.map((item) => item.row));
      look.lit = items.length > 0;
      replace(state, items.length ? `${number(items.length)} items of ` : "Nothing on the map of ", text(what), items.length > 0 && h("button", { type: "button", class: "quiet small", onclick: dim }, "Show all alike"));
      draw();
    } catch (error) {
      const message = words(error);
      if (message) replace(state, notice(message));
    }
  }

  function dim(): void {
    look.lit = false;
    replace(state);
    draw();
  }

  async function lightTag(name: string): Promise<void> {
    try {
      const { items } = await get("/v1/tags/items", {}, { name, n: MOST_LIT }, signal);
      await light({ item: items.map((item) => item.item) }, name);
    } catch (error) {
      const message = words(error);
      if (message) replace(state, notice(message));
    }
  }

  const tail = h("input", { type: "checkbox", id: "tail", onchange: () => ((look.tail = tail.checked), draw()) });
  replace(
    box,
    h(
      "div",
      { class: "map-tools" },
      searchBox("Highlight an item, a tag or a user’s history", ["item", "tag", "user"], (hit) => {
        if (hit.kind === "tag") void lightTag(hit.id);
        else void light(hit.kind === "item" ? { item: [hit.id] } : { user: hit.id }, hit.text);
      }),
      h("label", { class: "check" }, tail, "Highlight only the long tail"),
      h("button", { type: "button", class: "quiet small", "aria-label": "Zoom in", onclick: () => (zoom(camera, 1.5), draw()) }, "+"),
      h("button", { type: "button", class: "quiet small", "aria-label": "Zoom out", onclick: () => (zoom(camera, 1 / 1.5), draw()) }, "−"),
      h("button", { type: "button", class: "quiet small", onclick: fit }, "All"),
    ),
    state,
    frame,
  );
  handle(canvas, camera, draw);
  pick(canvas, camera, points, nearest, card, signal);
  new ResizeObserver(() => (camera.scale === 1 ? fit() : draw())).observe(canvas);
  addEventListener("themechange", () => ((look.dark = isDark()), draw()), { signal });
  fit();
  if (params.get("lit")) await light({ item: [params.get("lit")!] }, params.get("lit")!);
  if (params.get("user")) await light({ user: params.get("user")! }, params.get("user")!);
}

function zoom(camera: Camera, by: number, x = 0, y = 0): void {
  const scale = Math.min(Math.max(camera.scale * by, 80), 80_000);
  camera.x += x / camera.scale - x / scale; // what lies under the pointer stays there
  camera.y += y / camera.scale - y / scale;
  camera.scale = scale;
}

/** Pointer, wheel, two fingers and keys. */
function handle(canvas: HTMLCanvasElement, camera: Camera, draw: () => void): void {
  const fingers = new Map<number, { x: number; y: number }>();
  const spread = () => {
    const [a, b] = [...fingers.values()];
    return a && b ? Math.hypot(a.x - b.x, a.y - b.y) : 0;
  };
  canvas.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const last = fingers.get(event.pointerId);
    if (!last) return;
    const before = spread();
    const [dx, dy] = [event.offsetX - last.x, event.offsetY - last.y];
    fingers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    if (before) zoom(camera, spread() / before);
    else {
      camera.x -= dx / camera.scale;
      camera.y += dy / camera.scale;
    }
    draw();
  });
  for (const end of ["pointerup", "pointercancel"] as const) canvas.addEventListener(end, (event) => fingers.delete(event.pointerId));
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      zoom(camera, Math.exp(-event.deltaY / 400), event.offsetX - canvas.clientWidth / 2, canvas.clientHeight / 2 - event.offsetY);
      draw();
    },
    { passive: false },
  );
  canvas.addEventListener("keydown", (event) => {
    const step = 60 / camera.scale;
    const moves: Record<string, () => void> = {
      ArrowLeft: () => (camera.x -= step),
      ArrowRight: () => (camera.x += step),
      ArrowUp: () => (camera.y += step),
      ArrowDown: () => (camera.y -= step),
      "+": () => zoom(camera, 1.3),
      "-": () => zoom(camera, 1 / 1.3),
    };
    if (!moves[event.key]) return;
    event.preventDefault();
    moves[event.key]!();
    draw();
  });
}

/** The title of the item under the pointer; a click opens it. */
function pick(canvas: HTMLCanvasElement, camera: Camera, points: Points, nearest: Nearest, card: HTMLAnchorElement, signal: AbortSignal): void {
  let [shown, down] = [null as number | null, { x: 0, y: 0 }];
  const under = (event: PointerEvent) =>
    nearest.at(camera.x + (event.offsetX - canvas.clientWidth / 2) / camera.scale, camera.y - (event.offsetY - canvas.clientHeight / 2) / camera.scale, NEAR / camera.scale);
  const tell = async (row: number) => {
    const { items } = await get("/v1/map/items", {}, { row: [String(row)] }, signal);
    const item = items[0];
    if (!item || shown !== row) return;
    replace(card, text(item.title));
    card.href = link("explore", { item: item.id });
    const x = canvas.clientWidth / 2 + (points.x[row]! - camera.x) * camera.scale;
    const y = canvas.clientHeight / 2 - (points.y[row]! - camera.y) * camera.scale;
    card.style.setProperty("transform", `translate(${Math.min(x + 8, canvas.clientWidth - 240)}px, ${y + 8}px)`);
    card.hidden = false;
  };
  canvas.addEventListener("pointermove", (event) => {
    const row = event.buttons ? null : under(event);
    if (row === shown) return;
    shown = row;
    card.hidden = true;
    if (row !== null) tell(row).catch(words);
  });
  canvas.addEventListener("pointerdown", (event) => (down = { x: event.offsetX, y: event.offsetY }));
  canvas.addEventListener("pointerup", (event) => {
    if (Math.hypot(event.offsetX - down.x, event.offsetY - down.y) > 4) return;
    shown = under(event);
    if (shown !== null) tell(shown).then(() => card.href && card.click()).catch(words);
  });
}

/** Names of regions above where they lie, the largest first, none over another. */
function label(box: HTMLElement, regions: { name: string; x: number; y: number }[], camera: Camera, canvas: HTMLCanvasElement): void {
  const taken: { x: number; y: number; wide: number }[] = [];
  const shown = regions.flatMap((region) => {
    const x = canvas.clientWidth / 2 + (region.x - camera.x) * camera.scale;
    const y = canvas.clientHeight / 2 - (region.y - camera.y) * camera.scale;
    const wide = 7 * region.name.length + 12;
    if (x < wide / 2 || y < 28 || x > canvas.clientWidth - wide / 2 || y > canvas.clientHeight - 12) return [];
    if (taken.some((own) => Math.abs(own.y - y) < 22 && Math.abs(own.x - x) < (own.wide + wide) / 2)) return [];
    taken.push({ x, y, wide });
    return [text(region.name, { style: { transform: `translate(${x}px, ${y - 16}px) translate(-50%, -50%)` } })];
  });
  replace(box, shown);
}
