// `npm run test:programs`: real programs of other makers and this package with one login. Some minutes; the first time the programs
// are installed as well (1.2 GB in __test__/programs, and they are no dependencies of the checkout).
//
//   node scripts/test-programs.mjs                          all programs, as pinned
//   node scripts/test-programs.mjs --test-name-pattern=Qwen  options go to `node --test`
//   node scripts/test-programs.mjs --newest                 each in its newest version, in a temporary folder
//   PROGRAMS_ROUNDS=20 node scripts/test-programs.mjs       both at once, twenty times
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build, isBuilt } from "./build.mjs";
import { run } from "./command.mjs";
import { install, npm, root, setUp } from "./setup.mjs";

const folder = join(root, "__test__", "programs");
const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));

async function main() {
  const options = process.argv.slice(2).filter((argument) => argument !== "--newest");
  if (process.platform !== "linux" || process.arch !== "x64") {
    console.log("NOT RUN: the programs are installed for Linux on x64 alone.");
    return 0;
  }
  const newer = await newerVersions();
  await setUp({ nodes: [24] });
  const built = isBuilt() ? 0 : await build();
  if (built !== 0) {
    return built;
  }
  if (process.argv.includes("--newest")) {
    return runNewest(newer, options);
  }
  // Some optional packages of Qwen Code for other systems are in no registry.
  await install(folder, "the programs of other makers", ["install", "--no-save"]);
  const code = await runTests(folder, options);
  for (const [name, version] of Object.entries(newer)) {
    console.log(
      `NEWER: ${name} ${version} is out; ${manifest.dependencies[name]} was tested. Try: npm run test:programs -- --newest`,
    );
  }
  return code;
}

/** What is newer than what is pinned, as far as a registry can be asked. */
async function newerVersions() {
  const entries = await Promise.all(
    Object.entries(manifest.dependencies).map(async ([name, pinned]) => {
      const { code, stdout } = await npm(["view", name, "version"], root);
      const version = stdout.trim();
      return code === 0 && version !== "" && version !== pinned ? [[name, version]] : [];
    }),
  );
  return Object.fromEntries(entries.flat());
}

/** Whatever changed is said by program, version and failing test. */
async function runNewest(newer, options) {
  const names = Object.keys(newer);
  if (names.length === 0) {
    console.log("What is pinned is the newest.");
    return 0;
  }
  const temporary = mkdtempSync(join(tmpdir(), "programs-"));
  try {
    const dependencies = { ...manifest.dependencies, ...newer };
    writeFileSync(join(temporary, "package.json"), JSON.stringify({ private: true, dependencies }));
    const { code, output } = await npm(["install", "--ignore-scripts", "--no-audit", "--no-fund"], temporary);
    if (code !== 0) {
      throw new Error(`npm install failed (exit code ${code}):\n${output}`);
    }
    const failed = await runTests(temporary, options);
    const versions = Object.entries(newer).map(([name, version]) => `${name} ${version}`);
    console.log(
      failed === 0
        ? `SAME: ${versions.join(", ")} as what is pinned.`
        : `CHANGED: a test above fails with ${versions.join(", ")}. Look at the program whose name it has, then change the format and the pin.`,
    );
    return failed;
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

function runTests(programs, options) {
  process.env.PROGRAMS_FOLDER = programs;
  const runner = ["--test", "--test-reporter=spec", "--test-timeout=900000"];
  const file = join("__test__", "programs", "programs.test.ts");
  return run(process.execPath, ["--import", "tsx", ...runner, ...options, file]);
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
