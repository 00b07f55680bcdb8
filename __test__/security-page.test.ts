/** SECURITY.md names the test of each of its words: they exist, under these names. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";

const page = readFileSync(new URL("../SECURITY.md", import.meta.url), "utf8");
const rows = page.split("\n").filter((line) => line.startsWith("| **"));

test("each row of SECURITY.md names tests that exist", () => {
  assert.ok(rows.length >= 8);
  for (const row of rows) {
    const who = /\*\*(.+?)\*\*/.exec(row)?.[1];
    const cell = row.split("|").at(-2) ?? "";
    // `file` "title", "title"; `file` "title"
    const files = [...cell.matchAll(/`([^`]+)`((?:,? "[^"]+")+)/g)];
    assert.ok(files.length > 0, `${who} names no test`);
    assert.equal(cell.match(/`[^`]+`/g)?.length, files.length, `${who}: a file without titles`);
    for (const [, file = "", titles = ""] of files) {
      const folder = file.endsWith(".rs") ? "../src/" : "./";
      const source = new URL(folder + file, import.meta.url);
      assert.ok(existsSync(source), file);
      const text = readFileSync(source, "utf8");
      for (const [, title = ""] of titles.matchAll(/"([^"]+)"/g)) {
        const isThere = file.endsWith(".rs") ? text.includes(`fn ${title}(`) : declares(text, title);
        assert.ok(isThere, `${file} has no test "${title}"`);
      }
    }
  }
});

/** Whether a test or suite is named so, or by a template that ends so. `once` is a test for some of many formats. */
function declares(text: string, title: string): boolean {
  const names = [...text.matchAll(/\b(?:test|once|describe)\(\s*(["`])(.+?)\1,/gs)].map(([, , name]) => name ?? "");
  return names.some((name) => name === title || (name.includes("${") && name.endsWith(title)));
}
