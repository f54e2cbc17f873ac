// Bundles the page into dist/: index.html, and assets named by a hash of what they hold, each
// beside a copy compressed by gzip; and track.js, for other pages. `node build.mjs`; ./run does it when it sets the project up.

import { copyFile, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const here = new URL(".", import.meta.url).pathname;
const aside = `${here}dist.new`;

await rm(aside, { recursive: true, force: true });
await mkdir(`${aside}/assets`, { recursive: true });
const made = await build({
  absWorkingDir: here,
  entryPoints: ["src/main.ts", "src/page.css"],
  outdir: "dist.new/assets",
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  bundle: true,
  splitting: true,
  format: "esm",
  target: "es2022",
  minify: true,
  legalComments: "linked", // licences of what is bundled lie beside it
  charset: "utf8",
  metafile: true,
});

// The tracking snippet is one file that any page may load, under a name that stays.
await build({
  absWorkingDir: here,
  entryPoints: ["src/tracker.ts"],
  outfile: "dist.new/track.js",
  bundle: true,
  format: "iife",
  target: "es2022",
  minify: true,
});
await copyFile(`${here}src/tracking.schema.json`, `${aside}/track.schema.json`);

const entries = Object.entries(made.metafile.outputs)
  .filter(([, output]) => output.entryPoint)
  .map(([path]) => path.replace("dist.new/", ""));
const script = entries.find((path) => path.includes("/main-") && path.endsWith(".js"));
const style = entries.find((path) => path.includes("/page-") && path.endsWith(".css"));
const shell = await readFile(`${here}src/index.html`, "utf8");
await writeFile(
  `${aside}/index.html`,
  shell.replace("src/main.ts", script).replace("src/page.css", style),
);
const files = (await readdir(`${aside}/assets`)).map((name) => `assets/${name}`);
for (const name of [...files, "track.js"]) {
  const path = `${aside}/${name}`;
  await writeFile(`${path}.gz`, gzipSync(await readFile(path), { level: 9 }));
}
await rm(`${here}dist`, { recursive: true, force: true });
await rename(aside, `${here}dist`);
