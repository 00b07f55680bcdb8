// `npm run dev -- NAME…`: waits for edits to src/, plugin/, lib/ and the tests, builds what was edited, and runs the
// test files that have NAME in their names; without a name, it builds alone. Ctrl-C ends it.
import { watch } from "node:fs";
import { join } from "node:path";
import { build, isBuilt } from "./build.mjs";
import { buildPlugin } from "./build-plugin.mjs";
import { run } from "./command.mjs";
import { root, setUp } from "./setup.mjs";

const names = process.argv.slice(2);
let isRunning = false;
let editedAt = Date.now();

async function tried() {
  isRunning = true;
  // Edits during a round start the next one.
  for (let tried = 0; tried !== editedAt; ) {
    tried = editedAt;
    const code = await (names.length > 0
      ? run(process.execPath, [join(root, "scripts/check.mjs"), ...names])
      : isBuilt()
        ? buildPlugin()
        : build({ debug: true }));
    console.log(
      `${code === 0 ? "✓" : "✗"} ${((Date.now() - tried) / 1000).toFixed(1)} s after the edit. Waiting for the next …`,
    );
  }
  isRunning = false;
}

await setUp();
for (const folder of ["src", "plugin", "lib", "__test__"]) {
  watch(join(root, folder), { recursive: folder !== "__test__" }, () => {
    editedAt = Date.now();
    // An editor writes several times.
    setTimeout(() => isRunning || tried(), 50);
  });
}
await tried();
