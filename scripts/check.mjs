// `npm test`: all checks, stage by stage, up to the first that fails. Programs for the tests are installed meanwhile.
//
//   npm test                                       all stages
//   npm test -- clippy types                       only these
//   npm test -- login                              only tests, of files with this in their name
//   npm test -- login --test-name-pattern=…        options go to `node --test`
import { readdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, join, relative } from "node:path";
import { build, buildKeychain, generatedTypes, isBuilt, linting, underTest } from "./build.mjs";
import { buildPlugin } from "./build-plugin.mjs";
import { run, runPackage } from "./command.mjs";
import { installEngines } from "./engines.mjs";
import { installMcpServers } from "./mcp-servers.mjs";
import { installPostgresql } from "./postgresql.mjs";
import { installProxies } from "./proxies.mjs";
import { nodeMajors, root, setUp, testPrograms } from "./setup.mjs";

const stages = {
  rustfmt: { title: "Rust format", run: () => run("cargo", ["fmt", "--all", "--check"]) },
  biome: {
    title: "JavaScript and TypeScript format and lints",
    run: () => runPackage("@biomejs/biome/bin/biome", ["check", "--error-on-warnings", "."]),
  },
  build: { title: "Addon, not optimized, its types and lints", run: buildWithFreshTypes },
  keychain: {
    title: "Addon that knows the keychain, not optimized, and its lints",
    isAsked: true,
    run: () => buildKeychain({ env: linting }),
  },
  types: { title: "TypeScript, strict", run: checkTypes },
  clippy: { title: "Rust lints", mayRunAside: true, run: runClippy },
  rust: { title: "Rust tests", mayRunAside: true, run: (_, said) => runCargo("test", said) },
  tests: { title: "Tests against real servers and real processes", run: runNodeTests },
};

/** What the addon and the Rust tests are built of. Whoever builds them next finds it compiled. */
async function runClippy(_, said) {
  return (await runCargo("build", said)) || (await runCargo("test", said, ["--no-run"]));
}

function runCargo(command, said, options = []) {
  return run("cargo", [command, "--locked", ...underTest, ...options], { env: linting, said });
}

async function buildWithFreshTypes() {
  const before = read(generatedTypes);
  const code = await build({ debug: true, env: linting });
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

/** The test files that are asked for. */
function testFiles(passedOn) {
  const names = passedOn.filter((argument) => !argument.startsWith("-"));
  // What takes long, or an engine or a build of its own, is run by `npm run test:long`, or by name.
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
  return files;
}

async function runNodeTests(passedOn) {
  const files = testFiles(passedOn);
  const options = passedOn.filter((argument) => argument.startsWith("-"));
  const started = Date.now();
  const built = (await builtForTests(files)) || (await buildPlugin());
  if (built !== 0) {
    return built;
  }
  const what = files.length === 1 ? basename(files[0]) : `${files.length} test files`;
  console.log(`Built in ${seconds(started)}; running ${what}.`);
  // Tests mostly wait (for a poll interval, a lock, a server), so more of them than there are cores make progress.
  const concurrency = Math.max(6, availableParallelism());
  const runner = ["--test", "--test-reporter=spec", `--test-concurrency=${concurrency}`, "--test-timeout=300000"];
  return run(process.execPath, ["--import", "tsx", ...runner, ...options, ...files]);
}

/** With nothing to do where the stages before have built it; after an edit, as fast as cargo is. */
async function builtForTests(files) {
  const ofKeychain = files.some((path) => basename(path).startsWith("keychain"));
  return (
    (isBuilt() ? 0 : await build({ debug: true, quiet: true })) ||
    (ofKeychain ? await buildKeychain({ env: linting }) : 0)
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
  const names =
    stagesWanted.length > 0
      ? stagesWanted
      : passedOn.length > 0
        ? ["tests"]
        : Object.keys(stages).filter((name) => !stages[name].isAsked);

  const started = Date.now();
  await setUp();
  const hasTests = names.includes("tests");
  const prepared = hasTests ? preparedForTests() : undefined;
  const passed = [];
  const check = async (name, said) => {
    const stageStarted = Date.now();
    const code = await stages[name].run(passedOn, said);
    if (code === 0) passed.push(`${name} ${seconds(stageStarted)}`);
    else
      console.error(`\n✗ FAILED: ${stages[name].title} (${name}), exit code ${code}, after ${seconds(stageStarted)}.`);
    return code;
  };
  // The tests mostly wait: what only computes runs meanwhile.
  const isAside = (name) => hasTests && stages[name].mayRunAside === true;
  for (const name of names.filter((name) => !isAside(name))) {
    heading(name);
    let others = 0;
    if (name === "tests") {
      await prepared;
      others = checkAside(names.filter(isAside), check);
    }
    const [code, codeOfOthers] = await Promise.all([check(name), others]);
    if (code !== 0 || codeOfOthers !== 0) return code || codeOfOthers;
  }
  console.log(`\n✓ PASSED: ${passed.join(", ")}; ${seconds(started)} in all.`);
  return 0;
}

/** These stages, one after another. What they say is shown when they are through. */
async function checkAside(names, check) {
  const said = [];
  let code = 0;
  for (const name of names) code ||= await check(name, said);
  for (const name of names) heading(name);
  console.log(said.join(""));
  return code;
}

function heading(name) {
  const { title } = stages[name];
  console.log(`\n━━━ ${title} (${name}) ${"━".repeat(Math.max(3, 60 - title.length - name.length))}`);
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(`\n✗ FAILED: ${error.message}`);
  process.exitCode = 1;
}
