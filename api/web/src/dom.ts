// Elements are made here and nowhere else: text is always text, never markup.

type Child = Node | string | number | null | undefined | false;
type Props = Record<string, unknown>;

/** An element. `on…` are listeners, `style` an object, the others attributes; null leaves one out. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: (Child | Child[])[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  apply(element, props);
  element.append(...kept(children));
  return element;
}

/** The same for a drawing. */
export function s(tag: string, props: Props = {}, ...children: (Child | Child[])[]): SVGElement {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  apply(element, props);
  element.append(...kept(children));
  return element;
}

/** Text of the catalogue: in its own direction, whatever surrounds it. */
export function text(words: string, props: Props = {}): HTMLElement {
  return h("bdi", props, words);
}

export function replace(box: Element, ...children: (Child | Child[])[]): void {
  box.replaceChildren(...kept(children));
}

let last = 0;

/** A name for an element, for labels. */
export function fresh(word: string): string {
  last += 1;
  return `${word}-${last}`;
}

function apply(element: HTMLElement | SVGElement, props: Props): void {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) {
      element.addEventListener(name.slice(2), value as EventListener);
    } else if (name === "style") {
      for (const [key, own] of Object.entries(value as Record<string, string>)) {
        element.style.setProperty(key, own);
      }
    } else if (name === "value") {
      (element as HTMLInputElement).value = String(value);
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
}

function kept(children: (Child | Child[])[]): (Node | string)[] {
  return children
    .flat()
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : String(child)));
}
