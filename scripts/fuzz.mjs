// Fuzzes what reads foreign bytes (fuzz/, docs/evidence/security-testing.md) with cargo-fuzz, which is installed where
// it is missing.
//
//   node scripts/fuzz.mjs [--seconds 60] [--runs N] [--seed N] [--minimize] [target …]
//   node scripts/fuzz.mjs --build                                             only installs and compiles what that needs
//
// The corpora are packed: one file per target, one input per line, in base64. New inputs go to target/fuzz;
// `--minimize` packs what they add. Exit code 1 where a property does not hold; the input is then in fuzz/artifacts,
// and `cargo fuzz run <target> <input>` plays it again. With a seed, the same code is given the same first inputs; the
// later ones still differ where what an input reaches depends on the keys of hash maps or on threads.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { output, run } from "./command.mjs";
import { root } from "./setup.mjs";

const version = "0.13.2";
const tools = join(root, "target", "tools");
const built = join(root, "target", "fuzz");
const fuzz = join(root, "fuzz");
const targets = readdirSync(join(fuzz, "fuzz_targets")).map((name) => name.replace(/\.rs$/, ""));
// cargo-fuzz requires a nightly compiler; a stable one behaves like that with this variable.
const env = { RUSTC_BOOTSTRAP: "1", CARGO_TARGET_DIR: built };
const cargoFuzz = join(tools, "bin", "cargo-fuzz");

const packed = (target) => join(fuzz, "corpus", `${target}.base64`);
const kept = (target) => join(built, "kept", target);
const grown = (target) => join(built, "grown", target);

/** A file for each input, as libFuzzer wants them. */
function unpack(target) {
  emptied(kept(target));
  for (const line of readFileSync(packed(target), "utf8").split("\n").filter(Boolean)) {
    const input = Buffer.from(line, "base64");
    writeFileSync(join(kept(target), createHash("sha1").update(input).digest("hex")), input);
  }
}

function pack(target, folder) {
  const lines = readdirSync(folder).map((name) => readFileSync(join(folder, name), "base64"));
  const inOrder = [...new Set(lines)].filter(Boolean).sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
  writeFileSync(packed(target), `${inOrder.join("\n")}\n`);
}

function emptied(folder) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
}

async function installed() {
  const found = existsSync(cargoFuzz) ? await output(cargoFuzz, ["--version"]) : "";
  if (found.trim() !== `cargo-fuzz ${version}`) {
    console.log(`Installing cargo-fuzz ${version} (a minute, once) …`);
    // It starts the compiler and no more.
    await output("cargo", ["install", "cargo-fuzz", "--debug", "--locked", "--version", version, "--root", tools]);
  }
}

/** No code of our own is unsafe, and without sanitizers twice as much is tried in the same time. */
function build() {
  return run(cargoFuzz, ["build", "--release", "--sanitizer", "none", "--strip-dead-code"], { env });
}

function program(target) {
  const release = readdirSync(built).find((name) => existsSync(join(built, name, "release", target)));
  return join(built, release, "release", target);
}

function fuzzed(target, found, { seconds, runs, seed }) {
  const artifacts = join(fuzz, "artifacts", target);
  for (const folder of [artifacts, found]) mkdirSync(folder, { recursive: true });
  unpack(target);
  const limits = [
    `-max_total_time=${seconds}`,
    `-runs=${runs}`,
    `-seed=${seed}`,
    "-max_len=1024",
    "-timeout=30",
    "-rss_limit_mb=1024",
  ];
  const files = [`-dict=${join(fuzz, "dictionary.txt")}`, `-artifact_prefix=${artifacts}/`, found, kept(target)];
  return run(program(target), [...limits, "-verbosity=0", "-print_final_stats=1", ...files]);
}

/** Keeps the smallest inputs that together reach every edge that all reach. */
async function minimized(target, found) {
  const smallest = join(built, "smallest", target);
  emptied(smallest);
  const merge = ["-set_cover_merge=1", "-use_counters=0", "-max_len=1024", "-verbosity=0"];
  const code = await run(program(target), [...merge, smallest, kept(target), found]);
  if (code === 0) pack(target, smallest);
  return code;
}

async function main(args) {
  const number = (name, otherwise) => {
    const at = args.indexOf(name);
    if (at === -1) return otherwise;
    const [, given = "nothing"] = args.splice(at, 2);
    // libFuzzer takes numbers of 32 bits, and 0 as "any seed".
    if (!/^[1-9]\d{0,8}$/.test(given)) throw new Error(`${name} takes a number from 1 on, not ${given}.`);
    return Number(given);
  };
  const runs = number("--runs", -1);
  const limits = { runs, seconds: number("--seconds", runs === -1 ? 60 : 0), seed: number("--seed", 0) };
  const minimize = args.includes("--minimize");
  const wanted = args.filter((argument) => !["--minimize", "--build"].includes(argument));
  const unknown = wanted.find((name) => !targets.includes(name));
  if (unknown !== undefined)
    throw new Error(`There is no target or option ${unknown}. Targets: ${targets.join(", ")}.`);
  await installed();
  let code = await build();
  if (args.includes("--build")) return code;
  for (const target of wanted.length > 0 ? wanted : targets) {
    if (code !== 0) break;
    console.log(`\n${target}`);
    // What other runs have found would change what one with a seed tries.
    const found = limits.seed === 0 ? grown(target) : join(built, "seeded", target);
    if (limits.seed !== 0) emptied(found);
    code = await fuzzed(target, found, limits);
    if (code === 0 && minimize) code = await minimized(target, found);
  }
  return code;
}

process.exitCode = await main(process.argv.slice(2)).catch((error) => {
  console.error(error.message);
  return 1;
});
