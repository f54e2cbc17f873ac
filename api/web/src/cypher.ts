// The editor of the console: Cypher with colours and completion, in a shadow root of its own,
// since the editor's styles may not stand in the page under the policy.

import { autocompletion, type CompletionContext, type CompletionResult } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { HighlightStyle, StreamLanguage, syntaxHighlighting } from "@codemirror/language";
import { EditorState } from "@codemirror/state";
import { EditorView, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";

export interface Words {
  labels: string[];
  relationships: string[];
  properties: string[];
}

const KEYWORDS = "MATCH OPTIONAL WHERE RETURN WITH ORDER BY LIMIT SKIP UNWIND AS DISTINCT AND OR NOT XOR IN IS NULL CONTAINS STARTS ENDS CASE WHEN THEN ELSE END UNION ALL ASC DESC EXISTS COUNT TRUE FALSE".split(" ");
const FUNCTIONS = "count collect sum avg min max size nodes length labels coalesce id toLower toUpper abs round".split(" ");

const cypher = StreamLanguage.define({
  token(stream) {
    if (stream.eatSpace()) return null;
    if (stream.match("//")) return stream.skipToEnd(), "comment";
    if (stream.match(/^'(?:[^'\\]|\\.)*'?|^"(?:[^"\\]|\\.)*"?/)) return "string";
    if (stream.match(/^`[^`]*`?/)) return "name";
    if (stream.match(/^\d+(\.\d+)?/)) return "number";
    if (stream.match(/^\$\w+/)) return "variableName.special";
    if (stream.match(/^:\s*[\w`]+/)) return "typeName";
    if (stream.match(/^\.\w+/)) return "propertyName";
    const word = stream.match(/^\w+/) as RegExpMatchArray | null;
    if (word) return KEYWORDS.includes(word[0].toUpperCase()) ? "keyword" : FUNCTIONS.includes(word[0]) ? "function" : "variableName";
    stream.next();
    return null;
  },
  tokenTable: { name: tags.typeName, function: tags.function(tags.variableName) },
});

const colours = HighlightStyle.define([
  { tag: tags.keyword, color: "var(--accent)", fontWeight: "600" },
  { tag: tags.string, color: "var(--good)" },
  { tag: tags.number, color: "var(--domain)" },
  { tag: tags.typeName, color: "var(--user)" },
  { tag: tags.propertyName, color: "var(--warm)" },
  { tag: tags.comment, color: "var(--dim)", fontStyle: "italic" },
  { tag: tags.special(tags.variableName), color: "var(--domain)" },
]);

const theme = EditorView.theme({
  "&": { backgroundColor: "var(--sheet)", color: "var(--ink)", fontSize: "0.9rem", border: "1px solid var(--dim)", borderRadius: "8px", maxHeight: "20rem" },
  "&.cm-focused": { outline: "2px solid var(--accent)" },
  ".cm-content": { caretColor: "var(--ink)", minHeight: "7rem" },
  ".cm-cursor": { borderLeftColor: "var(--ink)" },
  ".cm-gutters": { backgroundColor: "var(--paper)", color: "var(--dim)", border: "none" },
  ".cm-tooltip": { backgroundColor: "var(--sheet)", color: "var(--ink)", border: "1px solid var(--line)" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { backgroundColor: "var(--accent)", color: "var(--accent-ink)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": { backgroundColor: "var(--soft)" },
});

export interface Editor {
  text: () => string;
  set: (query: string) => void;
}

/** An editor in `box`; `run` is called by Ctrl-Enter. */
export function editor(box: HTMLElement, query: string, words: Words, run: () => void): Editor {
  const root = box.attachShadow({ mode: "open" });
  const view = new EditorView({
    parent: root,
    root,
    state: EditorState.create({
      doc: query,
      extensions: [
        keymap.of([{ key: "Mod-Enter", run: () => (run(), true) }, ...defaultKeymap, ...historyKeymap]),
        history(),
        lineNumbers(),
        cypher,
        syntaxHighlighting(colours),
        autocompletion({ override: [(context) => complete(context, words)] }),
        EditorView.lineWrapping,
        EditorView.contentAttributes.of({ "aria-label": "Cypher" }),
        theme,
      ],
    }),
  });
  return {
    text: () => view.state.doc.toString(),
    set: (text) => view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } }),
  };
}

function complete(context: CompletionContext, words: Words): CompletionResult | null {
  const options = (labels: string[], type: string) => labels.map((label) => ({ label, type }));
  const label = context.matchBefore(/[(\[]\w*:\w*/);
  if (label) {
    const relationship = label.text.startsWith("[");
    return { from: label.from + label.text.indexOf(":") + 1, options: options(relationship ? words.relationships : words.labels, "type") };
  }
  const property = context.matchBefore(/\w\.\w*/);
  if (property) return { from: property.from + 2, options: options(words.properties, "property") };
  const word = context.matchBefore(/\w+/);
  if (!word && !context.explicit) return null;
  return { from: word?.from ?? context.pos, options: [...options(KEYWORDS, "keyword"), ...options(FUNCTIONS, "function")] };
}
