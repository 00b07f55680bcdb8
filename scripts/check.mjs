// `npm test`: all checks, stage by stage, up to the first that fails. Programs for the tests are installed meanwhile.
//
//   npm test                                       all stages
//   npm test -- clippy types                       only these
//   npm test -- login                              only tests, of files with this in their name
//   npm test -- login --test-name-pattern=…        options go to `node --test`
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, join, relative } from "node:path";
import { build, buildKeychain, generatedTypes, isBuilt } from "./build.mjs";
import { buildPlugin } from "./build-plugin.mjs";
import { run, runPackage } from "./command.mjs";
import { installEngines } from "./engines.mjs";
import { installMcpServers } from "./mcp-servers.mjs";
import { keychainBuildOf, runningPlatform } from "./platforms.mjs";
import { installPostgresql } from "./postgresql.mjs";
import { installProxies } from "./proxies.mjs";
import { nodeMajors, root, setUp, testPrograms } from "./setup.mjs";

const stages = {
  rustfmt: { title: "Rust format", run: () => run("cargo", ["fmt", "--all", "--check"]) },
  clippy: {
    title: "Rust lints",
    run: runClippy,
  },
  rust: { title: "Rust tests", run: () => run("cargo", ["test", "--locked"]) },
  build: { title: "Addon, not optimized, and its types", run: buildWithFreshTypes },
  keychain: { title: "Addon that knows the keychain, not optimized", run: () => buildKeychain() },
  biome: {
    title: "JavaScript and TypeScript format and lints",
    run: () => runPackage("@biomejs/biome/bin/biome", ["check", "--error-on-warnings", "."]),
  },
  types: { title: "TypeScript, strict", run: checkTypes },
  tests: { title: "Tests against real servers and real processes", run: runNodeTests },
};

/** Once more for what only the build with the keychain has. */
async function runClippy() {
  for (const which of [["--all-targets"], ["--lib", "--features", "keychain"]]) {
    const code = await run("cargo", ["clippy", "--locked", ...which, "--", "-D", "warnings"]);
    if (code !== 0) {
      return code;
    }
  }
  return 0;
}

async function buildWithFreshTypes() {
  const before = read(generatedTypes);
  const code = await build({ debug: true });
  if (code === 0 && read(generatedTypes) !== before) {
    console.error(
      `${relative(root, generatedTypes)} was not what the Rust sources say. This build has just rewritten it: ` +
        "look at the difference, commit it and start again.",
    );
    return 1;
  }
  return code;
}

/** Tests and examples; then the published types by themselves, in which --skipLibCheck would skip everything. */
async function checkTypes() {
  const built = await buildPlugin();
  if (built !== 0) {
    return built;
  }
  for (const project of ["tsconfig.json", "tsconfig.published.json"]) {
    const code = await runPackage("typescript/bin/tsc", ["--project", project]);
    if (code !== 0) {
      return code;
    }
  }
  return 0;
}

function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

async function runNodeTests(passedOn) {
  const options = passedOn.filter((argument) => argument.startsWith("-"));
  const names = passedOn.filter((argument) => !argument.startsWith("-"));
  // Tests of half a minute and more are run by `npm run test:long`, or by name.
  const examples = ["examples/memory-plugin", "examples/migration/after"];
  const folders = names.length === 0 ? ["__test__", ...examples] : ["__test__", "__test__/long", ...examples];
  const files = folders
    .flatMap((folder) => readdirSync(join(root, folder)).map((name) => join(folder, name)))
    .filter((path) => path.endsWith(".test.ts"))
    .filter((path) => names.length === 0 || names.some((wanted) => basename(path).includes(basename(wanted))));
  if (files.length === 0) {
    throw new Error(
      `No test file has ${names.join(" or ")} in its name, nor is that a stage: ${Object.keys(stages).join(", ")}.`,
    );
  }
  const started = Date.now();
  const built = (await builtForTests()) || (await buildPlugin());
  if (built !== 0) {
    return built;
  }
  const what = files.length === 1 ? basename(files[0]) : `${files.length} test files`;
  console.log(`Built in ${seconds(started)}; running ${what}.`);
  // Tests mostly wait (for a poll interval, a lock, a server), so more of them than there are cores make progress.
  const concurrency = Math.max(4, availableParallelism());
  const runner = ["--test", "--test-reporter=spec", `--test-concurrency=${concurrency}`, "--test-timeout=300000"];
  return run(process.execPath, ["--import", "tsx", ...runner, ...options, ...files]);
}

/** With nothing to do where the stages before have built it; after an edit, as fast as cargo is. */
async function builtForTests() {
  const keychain = keychainBuildOf(runningPlatform()).binary;
  return (
    (isBuilt() ? 0 : await build({ debug: true, quiet: true })) ||
    (existsSync(join(root, keychain)) ? 0 : await buildKeychain())
  );
}

/** Installs the programs that tests need beyond the packages of the checkout. Mostly this waits for downloads. */
function preparedForTests() {
  const fromDistribution = async () => {
    await setUp({ programs: testPrograms });
    await installProxies();
    await installPostgresql();
    await installEngines();
  };
  const prepared = Promise.all([setUp({ nodes: nodeMajors }), installMcpServers(), fromDistribution()]);
  // Only the stage that needs it awaits it.
  prepared.catch(() => {});
  return prepared;
}

function seconds(since) {
  return `${((Date.now() - since) / 1000).toFixed(1)} s`;
}

async function main() {
  const args = process.argv.slice(2);
  const stagesWanted = args.filter((argument) => Object.hasOwn(stages, argument));
  const passedOn = args.filter((argument) => !Object.hasOwn(stages, argument));
  const names = stagesWanted.length > 0 ? stagesWanted : passedOn.length > 0 ? ["tests"] : Object.keys(stages);

  const started = Date.now();
  await setUp();
  const prepared = names.includes("tests") ? preparedForTests() : undefined;
  const passed = [];
  for (const [index, name] of names.entries()) {
    const { title, run: runStage } = stages[name];
    console.log(
      `\n━━━ ${index + 1}/${names.length} ${title} (${name}) ${"━".repeat(Math.max(3, 60 - title.length - name.length))}`,
    );
    const stageStarted = Date.now();
    if (name === "tests") {
      await prepared;
    }
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
