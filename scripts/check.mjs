// `npm test`: everything that must hold, stage by stage, up to the first that does not.
//
//   node scripts/check.mjs                                   all stages
//   node scripts/check.mjs clippy types                      only these
//   node scripts/check.mjs tests -- login.test.ts            only test files with this in their name
//   node scripts/check.mjs tests -- --test-name-pattern=…    options of `node --test`
import { readdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, join, relative } from "node:path";
import { build, generatedTypes } from "./build.mjs";
import { run, runPackage } from "./command.mjs";
import { nodeMajors, root, setUp } from "./setup.mjs";

const stages = {
  rustfmt: { title: "Rust format", run: () => run("cargo", ["fmt", "--all", "--check"]) },
  clippy: {
    title: "Rust lints",
    run: () => run("cargo", ["clippy", "--locked", "--all-targets", "--", "-D", "warnings"]),
  },
  rust: { title: "Rust tests", run: () => run("cargo", ["test", "--locked"]) },
  build: { title: "Release addon and its types", run: buildWithFreshTypes },
  biome: {
    title: "JavaScript and TypeScript format and lints",
    run: () => runPackage("@biomejs/biome/bin/biome", ["ci", "--error-on-warnings", "."]),
  },
  types: { title: "TypeScript, strict", run: () => runPackage("typescript/bin/tsc", ["--project", "."]) },
  tests: { title: "Tests against real servers and real processes", run: runNodeTests },
};

async function buildWithFreshTypes() {
  const before = read(generatedTypes);
  const code = await build();
  if (code === 0 && read(generatedTypes) !== before) {
    console.error(
      `${relative(root, generatedTypes)} was not what the Rust sources say. This build has just rewritten it: ` +
        "look at the difference, commit it and start again.",
    );
    return 1;
  }
  return code;
}

function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

function runNodeTests(passedOn) {
  const options = passedOn.filter((argument) => argument.startsWith("-"));
  const names = passedOn.filter((argument) => !argument.startsWith("-"));
  const files = readdirSync(join(root, "__test__"))
    .filter((name) => name.endsWith(".test.ts"))
    .filter((name) => names.length === 0 || names.some((wanted) => name.includes(basename(wanted))))
    .map((name) => join("__test__", name));
  // Tests mostly wait (for a poll interval, a lock, a server), so more of them than there are cores make progress.
  const concurrency = Math.max(4, availableParallelism());
  const runner = ["--test", "--test-reporter=spec", `--test-concurrency=${concurrency}`, "--test-timeout=120000"];
  return run(process.execPath, ["--import", "tsx", ...runner, ...options, ...files]);
}

function seconds(since) {
  return `${((Date.now() - since) / 1000).toFixed(1)} s`;
}

async function main() {
  const args = process.argv.slice(2);
  const dashes = args.indexOf("--");
  const wanted = dashes === -1 ? args : args.slice(0, dashes);
  const passedOn = dashes === -1 ? [] : args.slice(dashes + 1);
  const unknown = wanted.filter((name) => !Object.hasOwn(stages, name));
  if (unknown.length > 0) {
    throw new Error(`Unknown stage ${unknown.join(", ")}; there are: ${Object.keys(stages).join(", ")}.`);
  }
  const names = wanted.length === 0 ? Object.keys(stages) : wanted;

  const started = Date.now();
  await setUp({ nodes: names.includes("tests") ? nodeMajors : [] });
  const passed = [];
  for (const [index, name] of names.entries()) {
    const { title, run: runStage } = stages[name];
    console.log(
      `\n━━━ ${index + 1}/${names.length} ${title} (${name}) ${"━".repeat(Math.max(3, 60 - title.length - name.length))}`,
    );
    const stageStarted = Date.now();
    const code = await runStage(passedOn);
    if (code !== 0) {
      console.error(`\n✗ FAILED: ${title} (${name}), exit code ${code}, after ${seconds(stageStarted)}.`);
      return code;
    }
    passed.push(`${name} ${seconds(stageStarted)}`);
  }
  console.log(`\n✓ PASSED: ${passed.join(", ")}; ${seconds(started)} in all.`);
  return 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(`\n✗ FAILED: ${error.message}`);
  process.exitCode = 1;
}
