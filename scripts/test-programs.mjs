// `npm run test:programs`: real programs of other makers and this package with one login. Some minutes; the first time
// the programs are installed as well (1.2 GB in __test__/programs, and they are no dependencies of the checkout).
//
//   node scripts/test-programs.mjs                          all programs, as pinned
//   node scripts/test-programs.mjs --test-name-pattern=Qwen  options go to `node --test`
//   node scripts/test-programs.mjs --newest                 those that are newer on npm, in a temporary folder: what changed is said,
//                                                           a line each, and fails nothing
//   node scripts/test-programs.mjs --rounds 20              both at once, twenty times
//
// The overrides in __test__/programs/package.json stand for packages of other systems that no registry has, which `npm
// ci` wants.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { build, isBuilt } from "./build.mjs";
import { run } from "./command.mjs";
import { install, npm, root, setUp } from "./setup.mjs";

const folder = join(root, "__test__", "programs");
const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));

async function main() {
  const { values, tokens } = parseArgs({
    options: { newest: { type: "boolean" }, rounds: { type: "string" } },
    strict: false,
    tokens: true,
  });
  const ours = ["newest", "rounds"];
  // Unknown options go to `node --test`.
  const options = tokens.filter(({ kind, name }) => kind === "option" && !ours.includes(name)).map(asGiven);
  if (values.rounds) {
    process.env.PROGRAMS_ROUNDS = values.rounds;
  }
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
  if (values.newest) {
    await runNewest(newer, options);
    return 0;
  }
  await install(folder, "the programs of other makers");
  process.env.PROGRAMS_FOLDER = folder;
  const code = await run(process.execPath, testArguments("spec", options));
  for (const [name, version] of Object.entries(newer)) {
    console.log(
      `NEWER: ${name} ${version} is out; ${manifest.dependencies[name]} was tested. Try: npm run test:programs -- --newest`,
    );
  }
  return code;
}

/** The versions that are newer than the pinned ones, as far as a registry can be asked. */
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

function asGiven({ rawName, value }) {
  return value === undefined ? rawName : `${rawName}=${value}`;
}

/** Reports the changes of each program. They fail nothing, because they are other projects' changes. */
async function runNewest(newer, options) {
  if (Object.keys(newer).length === 0) {
    console.log("What is pinned is the newest.");
    return;
  }
  const temporary = mkdtempSync(join(tmpdir(), "programs-"));
  try {
    writeFileSync(join(temporary, "package.json"), JSON.stringify({ ...manifest, dependencies: newer }));
    const { code, output } = await npm(["install", "--ignore-scripts", "--no-audit", "--no-fund"], temporary);
    if (code !== 0) {
      console.log(`NOT TRIED: the newest versions cannot be installed:\n${output}`);
      return;
    }
    process.env.PROGRAMS_FOLDER = temporary;
    for (const [name, version] of Object.entries(newer)) {
      process.env.PROGRAMS_ONLY = name;
      const failed = await failedTests(options);
      const pinned = manifest.dependencies[name];
      console.log(
        failed.length === 0
          ? `SAME: ${name} ${version} does what ${pinned} did.`
          : `CHANGED: ${name} ${version} is not as ${pinned} was: ${failed.join("; ")}.`,
      );
    }
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

/** The failed tests by name; or how a run ended that reported nothing. */
function failedTests(options) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, testArguments("tap", options), { stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (chunk) => {
      text += chunk;
    });
    child.on("error", reject);
    child.on("close", (code) => {
      const failed = [...text.matchAll(/^ +not ok \d+ - (.*)$/gm)].map(([, name]) => name);
      resolve(code !== 0 && failed.length === 0 ? [`the tests ended with ${code}`] : failed);
    });
  });
}

function testArguments(reporter, options) {
  const file = join("__test__", "programs", "programs.test.ts");
  // Twenty rounds of one that starts slowly take five minutes.
  const runner = ["--test", `--test-reporter=${reporter}`, "--test-timeout=1800000"];
  return ["--import", "tsx", ...runner, ...options, file];
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
