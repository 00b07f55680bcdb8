// Compiles the plugin kit, plugin/*.ts, and the stores, stores/*.ts, to CommonJS and types in dist/: under half a
// second. Not committed, like the binary: a checkout has neither until `npm run build`, and `npm pack` runs this by
// itself (prepack).
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runPackage } from "./command.mjs";
import { root, setUp } from "./setup.mjs";

/** @returns {Promise<number>} The exit code. */
export async function buildPlugin() {
  // Otherwise the output of a renamed source would be published.
  rmSync(output, { recursive: true, force: true });
  const codes = [];
  for (const project of ["plugin", "stores"]) {
    codes.push(await runPackage("typescript/bin/tsc", ["--project", `${project}/tsconfig.json`]));
  }
  const code = Math.max(...codes);
  const written = code === 0 ? readdirSync(output, { recursive: true }) : [];
  for (const name of written.filter((file) => file.endsWith(".d.ts"))) {
    const path = join(output, name);
    // The compiler rewrites the extension of imports in JavaScript only.
    const types = readFileSync(path, "utf8").replace(/(from "\.[^"]*)\.ts"/g, '$1.js"');
    // The stores are a folder deeper here than in their source.
    const isDeeper = name.startsWith("stores");
    writeFileSync(path, isDeeper ? types.replaceAll('"../index.js"', '"../../index.js"') : types);
  }
  return code;
}

const output = join(root, "dist");

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    await setUp();
    process.exitCode = await buildPlugin();
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
