// Compiles the plugin kit, plugin/*.ts, and the stores, stores/*.ts, to CommonJS and types in dist/: under half a
// second. Not committed, like the binary: a checkout has neither until `npm run build`, and `npm pack` runs this by
// itself (prepack).
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { runPackage } from "./command.mjs";
import { root, setUp } from "./setup.mjs";

/** @returns {Promise<number>} The exit code. */
export async function buildPlugin() {
  const sources = hash(["plugin", "stores", "lib"], others);
  // Others may be reading it.
  if (existsSync(output) && existsSync(mark) && readFileSync(mark, "utf8") === `${sources} ${hash(["dist"])}`) {
    return 0;
  }
  // Otherwise the output of a renamed source would be published.
  rmSync(output, { recursive: true, force: true });
  rmSync(mark, { force: true });
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
  if (code === 0) {
    mkdirSync(join(root, "target"), { recursive: true });
    // Of the sources as they were before: one that was saved meanwhile is compiled the next time.
    writeFileSync(mark, `${sources} ${hash(["dist"])}`);
  }
  return code;
}

/** What the compiler reads beside the sources. */
const others = [
  ...["index.d.ts", "package.json", "package-lock.json", "tsconfig.json"],
  relative(root, fileURLToPath(import.meta.url)),
];

/** Of the contents of folders and files, with names. */
function hash(folders, more = []) {
  const files = folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true }).map((name) => join(folder, name)),
  );
  const sum = createHash("sha256");
  for (const name of [...files.filter((name) => /\.(ts|json|js)$/.test(name)).sort(), ...more]) {
    sum
      .update(`${name}\0`)
      .update(readFileSync(join(root, name)))
      .update("\0");
  }
  return sum.digest("hex");
}

const output = join(root, "dist");
/** Of what it was made, and what it was then. */
const mark = join(root, "target", "dist.sha256");

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    await setUp();
    process.exitCode = await buildPlugin();
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
