// `npm run test:install`: the package as users get it. Packs everything, publishes it to a registry on loopback,
// installs it from there into empty folders without running a script, and uses it on every Node, from every kind of
// module.
//
// The binary is that of the last `npm run build`; the packages of other platforms hold an empty file in its place.
import assert from "node:assert/strict";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, relative } from "node:path";
import { build, buildKeychain, isBuilt } from "../../scripts/build.mjs";
import { output } from "../../scripts/command.mjs";
import { pack } from "../../scripts/packages.mjs";
import { builds, keychainBuildOf, keychainPackage, platforms, runningPlatform } from "../../scripts/platforms.mjs";
import { install, nodeMajors, npm, root, setUp } from "../../scripts/setup.mjs";

const name = "clawdbot-plugin-auth";

/** The documentation that goes along: all of it. */
function pagesOf(folder) {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => relative(root, join(parentPath, name)).replaceAll("\\", "/"))
    .filter((path) => !path.startsWith("docs/site/"));
}

/** All published files; a new file of the package is added here. */
const compiled = (folder) =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith(".ts"))
    .map((name) => basename(name, ".ts"));
const kit = [
  ...compiled("plugin"),
  ...compiled("plugin/testing").map((name) => `testing/${name}`),
  ...compiled("stores").map((name) => `stores/${name}`),
];
const published = [
  "LICENSE",
  "README.md",
  "CHANGELOG.md",
  "SECURITY.md",
  "index.d.ts",
  "index.js",
  "plugin.js",
  "ARCHITECTURE.md",
  "CONTRIBUTING.md",
  ...pagesOf("docs"),
  ...[
    "adoption",
    "auth-error",
    "call",
    "content",
    "given-store",
    "images",
    "json",
    "native-config",
    "outside-token",
    "pending-login",
    "unencrypted",
  ].map((name) => `lib/${name}.js`),
  ...["running-host", "shared", "test-runner", "unloadable", "unusable"].map((name) => `lib/${name}.js`),
  ...["given-store", "images", "pending-login", "shared", "unencrypted"].map((name) => `lib/${name}.d.ts`),
  ...kit.flatMap((name) => [`dist/${name}.d.ts`, `dist/${name}.js`]),
  "package.json",
].sort();

const here = import.meta.dirname;
const consumers = join(here, "consumers");
const running = runningPlatform();

async function main(workplace) {
  const packages = await step("pack", () => pack({ standIns: true }));
  await step("packages hold what is needed and nothing else", () => checkFiles(packages));
  await step("publint and arethetypeswrong", () => judge(packages.at(-1)));

  const { startRegistry } = await import("./registry.mjs");
  const { tryBundlers } = await import("./bundlers.mjs");
  const registry = await startRegistry(join(workplace, "registry"));
  try {
    await step(`publish to ${registry.origin}`, () => publish(packages, registry));
    const folder = join(workplace, "empty");
    await step("install, no scripts, in an empty folder", () => installInto(folder, registry));
    await step(`use: ESM, CommonJS, a login over https, on Node ${nodeMajors.join(", ")}`, () => use(folder));
    await step("use: Bun and Deno, a login over https, worker threads", () => useElsewhere(folder));
    await step("use: TypeScript under node16, nodenext, bundler", () => compile(folder));
    await step("bundle: esbuild, rollup, webpack, ncc, bun", () => tryBundlers(folder, join(workplace, "away")));
    await step("other platforms get their own binary, and only that", () => installElsewhere(workplace, registry));
    await step("with the keychain package: loaded when a config asks for it", () => useKeychain(workplace, registry));
    await step("without optional dependencies: the error says so", () => installWithoutBinary(workplace, registry));
  } finally {
    registry.stop();
  }
}

function checkFiles(packages) {
  assert.deepEqual(
    packages.map((one) => one.name),
    [...builds.map((platform) => platform.package), keychainPackage, name],
  );
  for (const platform of builds) {
    const { files } = packages.find((one) => one.name === platform.package);
    assert.deepEqual(files, ["LICENSE", "README.md", platform.binary, "package.json"]);
  }
  assert.deepEqual(packages.at(-2).files, ["LICENSE", "README.md", "index.js", "package.json"]);
  assert.deepEqual(packages.at(-1).files, published);
}

async function judge({ file }) {
  const packages = join(here, "node_modules");
  const [advice] = await Promise.all([
    output(process.execPath, [join(packages, "publint", "src", "cli.js"), "run", file, "--strict"]),
    output(process.execPath, [join(packages, "@arethetypeswrong", "cli", "dist", "index.js"), file]),
  ]);
  // Suggestions do not fail it.
  assert.match(advice, /All good!/, advice);
}

/** In the order of a release: dependencies first. */
async function publish(packages, { settings }) {
  const publishOne = ({ file }) => runNpm(["publish", "--ignore-scripts", file], tmpdir(), settings);
  await Promise.all(packages.slice(0, -1).map(publishOne));
  await publishOne(packages.at(-1));
}

async function installInto(folder, { settings }) {
  mkdirSync(folder);
  await runNpm(["install", "--ignore-scripts", name], folder, settings);
  assert.deepEqual(installed(folder), [name, running.package].sort());
  // A lockfile serves every platform, whichever one it was made on.
  const { packages } = JSON.parse(readFileSync(join(folder, "package-lock.json"), "utf8"));
  for (const platform of platforms) assert.ok(`node_modules/${platform.package}` in packages, platform.package);
}

async function use(folder) {
  cpSync(consumers, folder, { recursive: true });
  const env = { NODE_EXTRA_CA_CERTS: join(root, "__test__", "fixtures", "tls", "authority.pem") };
  const smoke = join(root, "__test__", "prebuilt", "smoke.cjs");
  const programs = [["modules.mjs"], ["modules.cjs"], [smoke, join(folder, "node_modules", name)]];
  await Promise.all(nodes().flatMap((node) => programs.map((args) => output(node, args, { cwd: folder, env }))));
}

/** Runtimes that are not Node; npm has both. */
async function useElsewhere(folder) {
  const packages = join(here, "node_modules");
  const runtimes = [
    [join(packages, "@oven", "bun-linux-x64", "bin", "bun"), "run"],
    [join(packages, "@deno", "linux-x64-glibc", "deno"), "run", "--allow-all", "--quiet"],
  ].filter(([program]) => existsSync(program));
  if (running.name === "linux-x64-gnu") assert.equal(runtimes.length, 2);
  const authority = join(root, "__test__", "fixtures", "tls", "authority.pem");
  const env = { NODE_EXTRA_CA_CERTS: authority, DENO_DIR: join(folder, "deno"), DENO_NO_UPDATE_CHECK: "1" };
  const smoke = [join(root, "__test__", "prebuilt", "smoke.cjs"), join(folder, "node_modules", name)];
  const programs = [["modules.mjs"], ["modules.cjs"], ["workers.mjs"], smoke];
  await Promise.all(
    runtimes.flatMap(([runtime, ...how]) =>
      programs.map((args) => output(runtime, [...how, ...args], { cwd: folder, env })),
    ),
  );
}

async function compile(folder) {
  // The same source as a CommonJS module.
  cpSync(join(folder, "typed.mts"), join(folder, "typed.cts"));
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
  const strict = ["--strict", "--target", "es2022", "--types", "", "--noUncheckedIndexedAccess"];
  for (const resolution of ["node16", "nodenext"]) {
    const how = ["--module", resolution, "--outDir", resolution, "--esModuleInterop"];
    await output(process.execPath, [tsc, ...strict, ...how, "typed.mts", "typed.cts"], { cwd: folder });
    const programs = ["typed.mjs", "typed.cjs"].map((program) => join(resolution, program));
    await Promise.all(nodes().flatMap((node) => programs.map((program) => output(node, [program], { cwd: folder }))));
  }
  const bundler = ["--module", "esnext", "--moduleResolution", "bundler", "--noEmit"];
  await output(process.execPath, [tsc, ...strict, ...bundler, "typed.mts"], { cwd: folder });
}

/** Makes npm look in another place. */
async function installElsewhere(workplace, { settings }) {
  await Promise.all(
    platforms.map(async (platform) => {
      const folder = join(workplace, platform.name);
      mkdirSync(folder);
      const { os, cpu, libc } = platform;
      const where = [`--os=${os}`, `--cpu=${cpu}`, ...(libc ? [`--libc=${libc}`] : [])];
      await runNpm(["install", "--ignore-scripts", ...where, name], folder, settings);
      assert.deepEqual(installed(folder), [name, platform.package].sort());
    }),
  );
}

/** Where there is no keychain, so that its own error shows that it was loaded. */
async function useKeychain(workplace, { settings }) {
  const folder = join(workplace, "keychain");
  mkdirSync(folder);
  await runNpm(["install", "--ignore-scripts", name, keychainPackage], folder, settings);
  const keychainBuild = keychainBuildOf(running);
  assert.deepEqual(installed(folder), [name, running.package, keychainPackage, keychainBuild.package].sort());
  const config = { pluginId: "p", issuer: "https://localhost", storage: "keychain", stateDir: join(folder, "state") };
  const program = `require("${name}").login(${JSON.stringify(config)}, { onVerification() {} }).catch((error) => console.log(error.code, error.message))`;
  const env = { DBUS_SESSION_BUS_ADDRESS: "unix:path=/nowhere" };
  const said = await output(process.execPath, ["--eval", program], { cwd: folder, env });
  assert.match(said, /^STORE_IO The system's keychain cannot be reached/);
}

async function installWithoutBinary(workplace, { settings }) {
  const folder = join(workplace, "without");
  mkdirSync(folder);
  await runNpm(["install", "--ignore-scripts", "--omit=optional", name], folder, settings);
  assert.deepEqual(installed(folder), [name]);
  const call = `require("${name}").status({ pluginId: "x" })`;
  await assert.rejects(output(process.execPath, ["--eval", call], { cwd: folder }), (error) => {
    assert.match(error.message, /Error: clawdbot-plugin-auth has no working binary/);
    assert.match(error.message, new RegExp(`the package ${running.package} is missing.*--omit=optional`));
    return true;
  });
}

function installed(folder) {
  return readdirSync(join(folder, "node_modules"))
    .filter((entry) => !entry.startsWith("."))
    .sort();
}

function nodes() {
  const major = Number(process.versions.node.split(".")[0]);
  return nodeMajors.map((wanted) => {
    if (wanted === major) return process.execPath;
    const packages = join(root, "__test__", "nodes", String(wanted), "node_modules");
    const [found] = readdirSync(packages)
      .flatMap((entry) => ["node", "node.exe"].map((program) => join(packages, entry, "bin", program)))
      .filter(existsSync);
    if (found === undefined) throw new Error(`Node ${wanted} is not installed.`);
    return found;
  });
}

async function runNpm(args, cwd, settings) {
  const { code, output: said } = await npm(args, cwd, settings);
  if (code !== 0)
    throw new Error(`npm ${args.map((one) => basename(one)).join(" ")} failed (exit code ${code}):\n${said}`);
}

async function step(title, work) {
  const started = Date.now();
  try {
    const result = await work();
    console.log(`✓ ${title} (${((Date.now() - started) / 1000).toFixed(1)} s)`);
    return result;
  } catch (error) {
    console.log(`✗ ${title}`);
    throw error;
  }
}

const workplace = mkdtempSync(join(tmpdir(), "install-test-"));
try {
  if (running === undefined) throw new Error(`There is no binary for ${process.platform} ${process.arch}.`);
  await setUp({ nodes: nodeMajors });
  await install(here, "the registry, the judges and the bundlers of the install test");
  if (!isBuilt() && (await build()) !== 0) throw new Error("The addon does not build.");
  if ((await buildKeychain()) !== 0) throw new Error("The keychain build does not build.");
  await main(workplace);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  rmSync(workplace, { recursive: true, force: true });
}
