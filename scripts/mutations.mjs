// `npm run test:mutations [-- WORD…]`: takes each protection out once, in a copy of the checkout, and names the tests
// that do not notice. With words: those protections alone that have one of them in their name. Not a part of CI: a
// build for each.
import { spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { libraries, underTest } from "./build.mjs";
import { output } from "./command.mjs";
import { runningPlatform } from "./platforms.mjs";
import { patternOf, protections } from "./protections.mjs";
import { root } from "./setup.mjs";

const copy = join(root, "target", "mutations");
const { target } = runningPlatform();
/** Kept from run to run, and used by nothing else: a build there blocks no other. */
const env = { ...process.env, CARGO_TARGET_DIR: join(root, "target", "mutated") };

async function copyCheckout() {
  rmSync(copy, { recursive: true, force: true });
  const files = await output("git", ["ls-files", "-co", "--exclude-standard", "-z"]);
  for (const file of files.split("\0").filter((file) => file !== "" && existsSync(join(root, file)))) {
    mkdirSync(dirname(join(copy, file)), { recursive: true });
    cpSync(join(root, file), join(copy, file), { verbatimSymlinks: true });
  }
  for (const made of ["node_modules", "dist", "__test__/nodes"]) {
    if (existsSync(join(root, made)) && !existsSync(join(copy, made))) symlinkSync(join(root, made), join(copy, made));
  }
}

/** Every file that may contain a protection. */
function sources(folder = copy, below = ["src", "lib", "plugin", "index.js"]) {
  return below.flatMap((name) => {
    const path = join(folder, name);
    const isFile = /\.(rs|js|ts)$/.test(name);
    return isFile
      ? [path]
      : readdirSync(path, { withFileTypes: true }).flatMap((entry) =>
          entry.isDirectory()
            ? sources(path, [entry.name])
            : /\.(rs|js|ts)$/.test(entry.name)
              ? [join(path, entry.name)]
              : [],
        );
  });
}

/** Applies it; returns a function that restores the file, or undefined where the text is not in exactly one place. */
function takeOut(entry) {
  const { replace } = entry;
  const pattern = patternOf(entry);
  const found = sources().flatMap((path) => {
    const text = readFileSync(path, "utf8");
    return [...text.matchAll(pattern)].map((match) => ({ path, text, match }));
  });
  if (found.length !== 1) return { problem: `stands in ${found.length} places` };
  const [{ path, text, match }] = found;
  writeFileSync(path, text.slice(0, match.index) + replace + text.slice(match.index + match[0].length));
  return { path, restore: () => writeFileSync(path, text) };
}

function run(command, args) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: copy, env, stdio: ["ignore", "pipe", "pipe"] });
    let text = "";
    child.stdout.on("data", (data) => (text += data));
    child.stderr.on("data", (data) => (text += data));
    child.on("close", (code) => resolve({ code, text }));
  });
}

async function build() {
  const built = await run("cargo", ["build", "--locked", "--lib", "--quiet", ...underTest]);
  if (built.code !== 0) return `does not compile:\n${built.text.slice(0, 2000)}`;
  const binaries = readdirSync(root).filter((name) => /^clawdbot-plugin-auth\..*\.node$/.test(name));
  for (const binary of binaries) {
    rmSync(join(copy, binary), { force: true });
    cpSync(join(env.CARGO_TARGET_DIR, target, "debug", libraries[process.platform]), join(copy, binary));
  }
  return undefined;
}

/** The names that failed, and those that did not. */
async function rustTests(patterns) {
  const options = ["--locked", "--quiet", "--lib", ...underTest];
  const { text } = await run("cargo", ["test", ...options, "--", ...patterns, "--format=pretty"]);
  const names = (how) => [...text.matchAll(new RegExp(`^test (\\S+) \\.\\.\\. ${how}$`, "gm"))].map(([, name]) => name);
  return { failed: names("FAILED"), passed: names("ok"), text };
}

async function scriptTests(file, patterns) {
  const { text } = await run(process.execPath, [
    ...["--import", "tsx", "--test", "--test-reporter=tap", "--test-timeout=90000"],
    ...patterns.map((pattern) => `--test-name-pattern=${pattern}`),
    `__test__/${file}.test.ts`,
  ]);
  const isMeant = (name) => patterns.some((pattern) => new RegExp(pattern).test(name));
  const names = (how) =>
    [...text.matchAll(new RegExp(`^\\s*${how} \\d+ - (.*)$`, "gm"))]
      .map(([, name]) => name.replaceAll("\\", ""))
      .filter((name) => isMeant(name) && !/# (SKIP|TODO)|\.test\.ts$/.test(name))
      .map((name) => `\`${file}\`: ${name}`);
  const failed = names("not ok");
  const passed = names("ok");
  // A test that waits for ever for what does not come takes its file with it.
  const hangs = failed.length === 0 && passed.length === 0 && /timed out/.test(text);
  return { failed: hangs ? [`\`${file}\`: ${patterns.join(", ")} (waits for ever)`] : failed, passed, text };
}

async function check(entry) {
  const { problem, path, restore } = takeOut(entry);
  if (problem !== undefined) return { problem };
  try {
    const failure = await build();
    if (failure !== undefined) return { problem: failure };
    const outcomes = [];
    for (const [file, patterns] of Object.entries(entry.tests)) {
      outcomes.push(file === "rust" ? await rustTests(patterns) : await scriptTests(file, patterns));
    }
    const failed = outcomes.flatMap((outcome) => outcome.failed);
    const passed = outcomes.flatMap((outcome) => outcome.passed);
    const nothing = outcomes.some((outcome) => outcome.failed.length + outcome.passed.length === 0);
    return { path, failed, passed, problem: nothing ? "a pattern names no test that ran" : undefined };
  } finally {
    restore();
  }
}

const words = process.argv.slice(2);
const wanted = protections.filter(
  ({ protection }) => words.length === 0 || words.some((word) => protection.toLowerCase().includes(word.toLowerCase())),
);
await copyCheckout();
let isWell = true;
console.log("| Taken out | Failed | Did not fail |\n|---|---|---|");
for (const entry of wanted) {
  const { problem, failed = [], passed = [] } = await check(entry);
  isWell &&= problem === undefined && passed.length === 0;
  const told = problem === undefined ? failed.join("; ") : `**${problem}**`;
  console.log(`| ${entry.protection} | ${told} | ${passed.join("; ")} |`);
}
process.exitCode = isWell ? 0 : 1;
