// A release, rehearsed in a copy of the checkout: `npm version`, the packages of the release workflow, published in
// its order to a registry on loopback, installed from there and used; and once more, as after a failure in the middle.
//
//   node scripts/rehearse-release.mjs [version]      binaries: those of `npm run build`, empty files for other platforms
import assert from "node:assert/strict";
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { startRegistry } from "../__test__/install/registry.mjs";
import { output } from "./command.mjs";
import { builds, platforms, runningPlatform } from "./platforms.mjs";
import { install, npm, root, setUp } from "./setup.mjs";

const name = "clawdbot-plugin-auth";
const [version = "99.0.0"] = process.argv.slice(2);

async function rehearse(workplace) {
  const copy = await copyOfTheCheckout(join(workplace, "checkout"));
  await step(`npm version ${version}`, () => output("npm", ["version", version], { cwd: copy }));
  const changed = await output("git", ["show", "--name-only", "--format=", "HEAD"], { cwd: copy });
  const { version: tagged } = readManifest(copy);
  assert.equal(tagged, version);
  assert.equal((await output("git", ["tag", "--points-at", "HEAD"], { cwd: copy })).trim(), `v${version}`);
  for (const path of [
    "Cargo.toml",
    "Cargo.lock",
    "lib/images.js",
    "keychain/package.json",
    "npm/darwin-x64/package.json",
  ]) {
    assert.ok(changed.split("\n").includes(path), `${path} has no new version`);
  }
  assert.equal(await output("git", ["status", "--porcelain", "--untracked-files=no"], { cwd: copy }), "");

  const packer = pathToFileURL(join(copy, "scripts", "packages.mjs"));
  const program = `import(${JSON.stringify(packer)}).then(async ({ pack }) => console.log(JSON.stringify(await pack({ standIns: true }))))`;
  const said = await step("pack", () => output(process.execPath, ["--eval", program], { cwd: copy }));
  const packages = JSON.parse(said.trim().split("\n").at(-1));
  assert.equal(packages.length, builds.length + 2);

  const registry = await startRegistry(join(workplace, "registry"));
  try {
    const isThere = async (one) => {
      const answer = await fetch(`${registry.origin}/${one}`);
      return answer.ok && version in (await answer.json()).versions;
    };
    const publishOne = async (one) => {
      if (await isThere(one.name)) return;
      const { code, output: why } = await npm(["publish", "--ignore-scripts", one.file], workplace, registry.settings);
      if (code !== 0) throw new Error(`${one.name} is not published:\n${why}`);
    };
    await step("publish, as far as the half", () => Promise.all(packages.slice(0, platforms.length).map(publishOne)));
    const missing = await step("started again: the workflow's own step publishes what is missing", () =>
      publishAsTheWorkflow(copy, join(workplace, "bin"), registry.settings),
    );
    assert.equal(missing.match(/is published already$/gm)?.length, platforms.length);
    for (const one of packages) assert.ok(await isThere(one.name), one.name);
    await step("install and use", () => use(join(workplace, "empty"), registry));
  } finally {
    registry.stop();
  }
}

async function copyOfTheCheckout(folder) {
  const files = (await output("git", ["ls-files", "-z"]))
    .split("\0")
    .filter((file) => file !== "" && existsSync(join(root, file)));
  for (const file of files) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    copyFileSync(join(root, file), join(folder, file));
  }
  const git = (...args) => output("git", args, { cwd: folder });
  await git("init", "--quiet");
  await git("config", "user.name", "rehearsal");
  await git("config", "user.email", "rehearsal@localhost");
  await git("add", "--all");
  await git("commit", "--quiet", "--message", "What is released");
  for (const binary of readdirSync(root).filter((file) => file.endsWith(".node"))) {
    copyFileSync(join(root, binary), join(folder, binary));
  }
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  cpSync(join(root, "dist"), join(folder, "dist"), { recursive: true });
  return folder;
}

/** Runs the step "Publish to npm" of release.yml, as GitHub runs it, but for what only GitHub can vouch for: `--provenance`. */
async function publishAsTheWorkflow(copy, bin, settings) {
  const workflow = readFileSync(join(copy, ".github", "workflows", "release.yml"), "utf8");
  const [, indented] = /- name: Publish to npm\n(?:.*\n)*? {8}run: \|\n((?: {10}.*\n|\n)+)/.exec(workflow) ?? [];
  assert.ok(indented?.includes("npm publish"), "release.yml has no such step");
  const real = (await output("which", ["npm"])).trim();
  mkdirSync(bin);
  const program = `#!/bin/sh\nfor word; do shift; [ "$word" = --provenance ] || set -- "$@" "$word"; done\nexec "${real}" "$@"\n`;
  writeFileSync(join(bin, "npm"), program, { mode: 0o755 });
  const env = { ...settings, PATH: `${bin}${delimiter}${process.env.PATH}`, NODE_AUTH_TOKEN: "" };
  const script = indented.replace(/^ {10}/gm, "");
  return output("bash", ["--noprofile", "--norc", "-eo", "pipefail", "-c", script], { cwd: copy, env });
}

async function use(folder, { settings }) {
  mkdirSync(folder);
  const { code, output: said } = await npm(["install", "--ignore-scripts", name], folder, settings);
  if (code !== 0) throw new Error(said);
  assert.equal(readManifest(join(folder, "node_modules", name)).version, version);
  assert.equal(readManifest(join(folder, "node_modules", runningPlatform().package)).version, version);
  const smoke = join(root, "__test__", "prebuilt", "smoke.cjs");
  const env = { NODE_EXTRA_CA_CERTS: join(root, "__test__", "fixtures", "tls", "authority.pem") };
  console.log((await output(process.execPath, [smoke, join(folder, "node_modules", name)], { env })).trim());
}

function readManifest(folder) {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
}

async function step(title, work) {
  const started = Date.now();
  const result = await work();
  console.log(`✓ ${title} (${((Date.now() - started) / 1000).toFixed(1)} s)`);
  return result;
}

const workplace = mkdtempSync(join(tmpdir(), "release-"));
try {
  await setUp();
  await install(join(root, "__test__", "install"), "the registry");
  await rehearse(workplace);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  rmSync(workplace, { recursive: true, force: true });
}
