// The tests of docs/guide/testing.md, of the plugin of README.md, in the runners that they are written for.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { join } from "node:path";
import { test } from "node:test";

const root = join(import.meta.dirname, "..", "..");
const read = (path) => readFileSync(join(root, path), "utf8");
const plugin = stripTypeScriptTypes(/```ts\n([\s\S]*?)```/.exec(read("README.md"))[1]);
const page = read("docs/guide/testing.md");

const runners = {
  "node:test": { file: "plugin.test.js", type: "module", args: ["--test"], env: { NODE_ENV: "test" } },
  vitest: { file: "plugin.test.js", type: "module", args: ["vitest/vitest.mjs", "run"] },
  jest: { file: "plugin.test.js", type: "commonjs", args: ["jest/bin/jest.js"] },
  "jest, for an ES module": {
    file: "plugin.test.js",
    type: "module",
    args: ["jest/bin/jest.js"],
    env: { NODE_OPTIONS: "--experimental-vm-modules" },
  },
};

/** The code blocks of the page below this heading. */
const blocks = (heading) => {
  const [, section] = new RegExp(`^### ${heading}\\n([\\s\\S]*?)(?=^##)`, "m").exec(page);
  return [...section.matchAll(/```js\n([\s\S]*?)```/g)].map(([, code]) => code);
};

/** The test for that runner; that of jest for an ES module has other first lines. */
function testFor(runner) {
  const [test, imports] = blocks(runner.split(",")[0]);
  return runner.includes(",") ? imports + test.replace(/^const .* = require\(.*\);\n/gm, "") : test;
}

for (const [runner, { file, type, args, env }] of Object.entries(runners)) {
  test(`the test of docs/guide/testing.md passes in ${runner}`, async (t) => {
    mkdirSync(join(root, "target"), { recursive: true });
    const folder = mkdtempSync(join(root, "target", "runner-"));
    t.after(() => rmSync(folder, { recursive: true }));
    mkdirSync(join(folder, "node_modules"));
    symlinkSync(root, join(folder, "node_modules", "clawdbot-plugin-auth"), "dir");
    symlinkSync(join(import.meta.dirname, "node_modules", "vitest"), join(folder, "node_modules", "vitest"), "dir");
    symlinkSync(join(import.meta.dirname, "node_modules", "@jest"), join(folder, "node_modules", "@jest"), "dir");
    writeFileSync(join(folder, file), testFor(runner));
    writeFileSync(join(folder, "package.json"), JSON.stringify({ type }));
    const required = plugin
      .replace(/import \{(.*?)\} from ("[^"]+");/, "const {$1} = require($2);")
      .replace("export default", "module.exports =");
    writeFileSync(join(folder, "plugin.js"), type === "module" ? plugin : required);

    const program = args.map((arg) => (arg.includes("/") ? join(import.meta.dirname, "node_modules", arg) : arg));
    // Started as by a person, not by another runner.
    const { NODE_TEST_CONTEXT: _context, NODE_ENV: _env, ...outside } = process.env;
    const child = spawn(process.execPath, program, { cwd: folder, env: { ...outside, ...env } });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk) => {
        output += chunk;
      });
    }
    const [status] = await once(child, "close");
    assert.equal(status, 0, output);
    assert.match(output, /1 passed|pass 1/);
  });
}
