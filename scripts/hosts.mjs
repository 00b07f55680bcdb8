// The hosts that the example plugin is tried in: the rows of __test__/hosts/versions.json, from one lockfile, each
// version a workspace of its own, so that a few can be installed without the others. 0.5 GB each; no dependencies of
// the checkout.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { npm, root, serverNodeMajor } from "./setup.mjs";

const folder = join(root, "__test__", "hosts");
const workspaces = join(folder, "versions");
const lockfile = join(folder, "package-lock.json");
const quietly = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];

/** @type {import("./hosts.mjs").HostVersion[]} */
export const hosts = JSON.parse(readFileSync(join(folder, "versions.json"), "utf8")).map((row) => ({
  ...row,
  // 2026.1.24-3 is a repeated release of 2026.1.24.
  id: `${row.host}-${row.version.replace(/-\d+$/, "")}`,
}));

/** A row for a version that is not in the table: the features of the last version before it. */
export function hostLike(host, version) {
  const older = hosts.filter((row) => row.host === host && compare(row.version, version) <= 0);
  const row = older.at(-1) ?? hosts.find((one) => one.host === host);
  return { ...row, version, id: `${host}-${version}` };
}

/** Below zero where `one` is the older version. */
function compare(one, other) {
  const [a, b] = [one, other].map((version) => version.split(/[.-]/).map(Number));
  const at = a.findIndex((part, index) => part !== (b[index] ?? 0));
  return at === -1 ? 0 : a[at] - (b[at] ?? 0);
}

/** Installs these versions, and leaves the others that are there. */
export async function installHosts(ids) {
  const lock = createHash("sha256").update(readFileSync(lockfile)).digest("hex");
  const stamp = join(workspaces, "installed.json");
  const known = existsSync(stamp) ? JSON.parse(readFileSync(stamp, "utf8")) : {};
  const there = known.lock === lock ? known.ids : [];
  if (ids.every((id) => there.includes(id))) {
    return;
  }
  const all = [...new Set([...there, ...ids])];
  console.log(`Installing ${ids.join(", ")} (half a GB each) …`);
  const started = Date.now();
  rmSync(stamp, { force: true });
  writeWorkspaces();
  await succeed(["ci", ...all.map((id) => `--workspace=${id}`), ...quietly]);
  writeFileSync(stamp, JSON.stringify({ lock, ids: all }));
  console.log(`Installed in ${((Date.now() - started) / 1000).toFixed(0)} s`);
}

/** After a change of the table: the lockfile follows. */
export async function lockHosts() {
  rmSync(workspaces, { recursive: true, force: true });
  writeWorkspaces();
  await succeed(["install", "--package-lock-only", "--force", ...quietly]);
}

/** A version that is not in the table: into target/, without a lockfile. */
export async function installElsewhere(host, version) {
  const place = join(root, "target", "hosts", `${host}-${version}`);
  if (!existsSync(join(place, "package-lock.json"))) {
    mkdirSync(place, { recursive: true });
    const { overrides } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const here = Object.entries(overrides).map(([name, spec]) => [name, spec.replace("file:", `file:${folder}/`)]);
    const text = JSON.stringify({ ...manifest(host, version), overrides: Object.fromEntries(here) }, null, 2);
    writeFileSync(join(place, "package.json"), text);
    await succeed(["install", ...quietly], place);
  }
  return place;
}

/** The same as a row, on the first Node that it names itself: ">=24.16.0 <25 || >=26.1.0". */
export async function hostElsewhere(host, version) {
  const folder = await installElsewhere(host, version);
  const { engines } = JSON.parse(readFileSync(join(folder, "node_modules", host, "package.json"), "utf8"));
  const [, first] = />=\s*(\d+)/.exec(engines?.node ?? "") ?? [];
  const row = hostLike(host, version);
  return { ...row, folder, node: first === undefined ? row.node : Math.max(Number(first), serverNodeMajor) };
}

/** The newest release that npm has of a host, where the table has none that is as new. */
export async function newerThanTable(host) {
  const { code, stdout, output } = await npm(["view", host, "version", "--json"], root);
  if (code !== 0) {
    throw new Error(`npm view ${host} failed (exit code ${code}): ${output}`);
  }
  const version = JSON.parse(stdout);
  return hosts.some((row) => row.host === host && compare(row.version, version) >= 0) ? undefined : version;
}

function writeWorkspaces() {
  for (const { id, host, version } of hosts) {
    mkdirSync(join(workspaces, id), { recursive: true });
    const text = JSON.stringify({ name: id, version: "0.0.0", ...manifest(host, version) }, null, 2);
    writeFileSync(join(workspaces, id, "package.json"), `${text}\n`);
  }
}

function manifest(host, version) {
  // These do not name it as a dependency, and do not start without it.
  const lacks = version.startsWith("2026.1.");
  return { private: true, dependencies: { [host]: version, ...(lacks && { "strip-ansi": "7.1.2" }) } };
}

async function succeed(args, place = folder) {
  const { code, output } = await npm(args, place);
  if (code !== 0) {
    throw new Error(`npm ${args[0]} failed (exit code ${code}) in ${place}:\n${output}`);
  }
}
