// Bundles main.js and three.js into ../page.js; with --check only says whether that is up to date.

import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const result = await build({
  absWorkingDir: here("."),
  entryPoints: ["main.js"],
  bundle: true,
  minify: true,
  format: "iife",
  target: ["chrome100", "firefox100", "safari15.4"],
  charset: "ascii",
  legalComments: "inline",
  write: false,
});
const bundle = result.outputFiles[0].text;
const licence = await readFile(here("node_modules/three/LICENSE"), "utf8");
for (const [path, text] of [["../page.js", bundle], ["../LICENSE-three.txt", licence]]) {
  if (process.argv.includes("--check")) {
    const committed = await readFile(here(path), "utf8").catch(() => "");
    if (committed !== text) {
      console.error(`${path} is not what the sources give: run npm run build and commit it`);
      process.exitCode = 1;
    }
  } else {
    await writeFile(here(path), text);
    console.log(`${path}: ${text.length} bytes`);
  }
}
