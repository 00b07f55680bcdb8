/** No two files of the kit, the loader or the scripts import each other in a circle. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const source = /\.(?:[cm]?js|[cm]?ts)$/;

/** The files that a file imports, types included: a reader of the one has to read the other. */
function imports(path: string): string[] {
  const text = readFileSync(path, "utf8").replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, "");
  const found = text.matchAll(/(?:\bfrom|\bimport|\bimport\(|\brequire\()\s*"(\.[^"]+)"/g);
  return [...found].map(([, to = ""]) => resolve(dirname(path), to)).filter(existsSync);
}

/** The first circle that is met, as the files on it. */
function circle(files: string[]): string[] | undefined {
  const done = new Set<string>();
  const visit = (file: string, path: string[]): string[] | undefined => {
    if (path.includes(file)) {
      return [...path.slice(path.indexOf(file)), file];
    }
    if (done.has(file)) {
      return undefined;
    }
    done.add(file);
    for (const next of imports(file)) {
      const found = visit(next, [...path, file]);
      if (found !== undefined) {
        return found;
      }
    }
    return undefined;
  };
  for (const file of files) {
    const found = visit(file, []);
    if (found !== undefined) {
      return found;
    }
  }
  return undefined;
}

for (const folder of ["plugin", "lib", "scripts", "benchmark", "__test__/support"]) {
  test(`${folder}: no file imports itself by way of others`, () => {
    const files = readdirSync(join(root, folder), { recursive: true })
      .map(String)
      .filter((name) => source.test(name) && !name.includes("node_modules") && !name.endsWith(".d.mts"))
      .map((name) => join(root, folder, name));
    assert.ok(files.length > 3);
    const found = circle(files);
    assert.equal(found, undefined, found?.map((file) => relative(root, file)).join(" → "));
  });
}

test("npm run help has a line for every task", () => {
  const { status, stderr } = spawnSync(process.execPath, [join(root, "scripts/help.mjs")], { encoding: "utf8" });
  assert.deepEqual([status, stderr], [0, ""]);
});
