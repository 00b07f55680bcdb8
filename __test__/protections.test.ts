/** The list of `npm run test:mutations`, which itself takes an hour, keeps up with the sources. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { patternOf, protections } from "../scripts/protections.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));

test("each protection is in the sources once, and the files of its tests exist", () => {
  const below = ["src", "lib", "plugin"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => /\.(rs|js|ts)$/.test(name))
      .map((name) => join(folder, name)),
  );
  const texts = [...below, "index.js"].map((path) => readFileSync(join(root, path), "utf8"));
  const problems = protections.flatMap((entry) => {
    const places = texts.reduce((sum, text) => sum + [...text.matchAll(patternOf(entry))].length, 0);
    const missing = Object.keys(entry.tests).filter(
      (file) => file !== "rust" && !existsSync(join(root, "__test__", `${file}.test.ts`)),
    );
    return [
      ...(places === 1 ? [] : [`${entry.protection}: stands in ${places} places`]),
      ...missing.map((file) => `${entry.protection}: there is no ${file}.test.ts`),
    ];
  });
  assert.deepEqual(problems, []);
});
