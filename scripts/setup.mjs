// Makes a bare checkout ready: the packages of package-lock.json, and further Node versions where they are wanted.
// Depends on nothing but Node itself; with nothing to do it is done in a few milliseconds.
//
//   node scripts/setup.mjs [--nodes 18,22]
import { spawn, spawnSync } from "node:child_process";
import { statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** The Node versions that the addon is tried on. */
export const nodeMajors = [18, 20, 22, 24, 26];

/** The oldest Node that oidc-provider, the server of the tests and of the demo, runs on without complaint. */
export const serverNodeMajor = 22;

const oldestNodeForDevelopment = 20;
const runningMajor = Number(process.versions.node.split(".")[0]);

/** Programs without which some tests are skipped, and the distribution's package of each. */
export const testPrograms =
  process.platform === "linux"
    ? {
        strace: "strace",
        openssl: "openssl",
        chromium: "chromium",
        ip: "iproute2",
        "dbus-daemon": "dbus-daemon",
        "dbus-send": "dbus-bin",
        "gnome-keyring-daemon": "gnome-keyring",
        "secret-tool": "libsecret-tools",
        keepassxc: "keepassxc",
        Xvfb: "xvfb",
        xwininfo: "x11-utils",
        xwd: "x11-apps",
      }
    : {};

/**
 * @param {{ nodes?: number[], programs?: Record<string, string>, rivals?: boolean }} [wanted] Node versions to have besides the running
 *   one, programs to have where that is possible, and what benchmarks compare with.
 */
export async function setUp({ nodes = [], programs = {}, rivals = false } = {}) {
  if (runningMajor < oldestNodeForDevelopment) {
    throw new Error(
      `Working on this package takes Node ${oldestNodeForDevelopment} or newer; this is ${process.version}. ` +
        "(The package itself runs on Node 18.)",
    );
  }
  await install(root, "the packages of package-lock.json");
  if (rivals) {
    await install(join(root, "benchmark"), "what the benchmarks compare with");
  }
  for (const major of nodes) {
    if (major !== runningMajor) {
      await install(join(root, "__test__", "nodes", String(major)), `Node ${major}`);
    }
  }
  await installPrograms(programs);
}

/**
 * From the distribution, as root alone. Where they cannot be had, the tests that need them say that they are skipped.
 */
async function installPrograms(programs) {
  const isMissing = ([program]) => spawnSync(program, ["--version"], { stdio: "ignore" }).error !== undefined;
  const packages = Object.entries(programs)
    .filter(isMissing)
    .map(([, debianPackage]) => debianPackage);
  if (packages.length === 0 || process.getuid?.() !== 0) {
    return;
  }
  console.log(`Installing ${packages.join(", ")} …`);
  const quietly = (...args) =>
    new Promise((resolve) => {
      const child = spawn("apt-get", args, { stdio: "ignore" });
      child.on("error", () => resolve(false)).on("close", (code) => resolve(code === 0));
    });
  const install = (...names) => quietly("install", "--yes", "--no-install-recommends", ...names);
  if ((await install(...packages)) || ((await quietly("update")) && (await install(...packages)))) {
    return;
  }
  // One that the distribution does not have keeps no other away.
  for (const name of packages) {
    if (!(await install(name))) {
      console.log(`${name} cannot be installed; the tests that need it will be skipped`);
    }
  }
}

/**
 * Installs the packages of a folder's package-lock.json, if they are not there yet.
 *
 * @param {string} folder
 * @param {string} what the packages, described for a person
 */
export async function install(folder, what) {
  if (isInstalled(folder)) {
    return;
  }
  const started = Date.now();
  console.log(`Installing ${what} …`);
  const { code, output } = await npm(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], folder);
  if (code !== 0) {
    throw new Error(`npm ci failed (exit code ${code}) in ${folder}:\n${output}`);
  }
  console.log(`Installed ${what} in ${((Date.now() - started) / 1000).toFixed(1)} s`);
}

// npm writes its hidden lockfile last: it exists, and is newer than the folder's own, only after a complete
// installation.
function isInstalled(folder) {
  const installed = modificationTime(join(folder, "node_modules", ".package-lock.json"));
  return installed !== undefined && installed >= modificationTime(join(folder, "package-lock.json"));
}

function modificationTime(path) {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs;
}

/** @returns {Promise<{ code: number | string, stdout: string, output: string }>} `output` is that of both streams. */
export function npm(args, cwd, env = {}) {
  // Under `npm run`, the very npm that runs us; it may not be the first on PATH.
  const cli = process.env.npm_execpath;
  const [command, prefix] = cli?.endsWith("js") ? [process.execPath, [cli]] : ["npm", []];
  return new Promise((resolve, reject) => {
    const child = spawn(command, [...prefix, ...args], {
      cwd,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
      shell: process.platform === "win32" && command === "npm",
    });
    let stdout = "";
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text) => {
      stdout += text;
      output += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text) => {
      output += text;
    });
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code: code ?? signal, stdout, output }));
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const at = process.argv.indexOf("--nodes");
  const nodes = at === -1 ? [] : (process.argv[at + 1] ?? "").split(",").map(Number);
  await setUp({ nodes }).catch((error) => {
    console.error(error.message);
    process.exit(1);
  });
}
