// The hosts that the example plugin is tried in: the rows of __test__/hosts/versions.json, from one lockfile, each
// version a workspace of its own, so that a few can be installed without the others. 0.5 GB each; no dependencies of
// the checkout.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { npm, root, serverNodeMajor, setUp } from "./setup.mjs";

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

/**
 * The rows that a person names: "2026.9" and "clawdbot" are parts of their names, "openclaw-2026.4.21" and "2026.4.21"
 * one version, in the table or not.
 */
export function named(name) {
  const exact = name.replace("@", "-");
  const [, host = "openclaw", version] = /^(?:([a-z-]+)-)?(\d+\.\d+\.\d\S*)$/.exec(exact) ?? [];
  const namesOf = (row) => [row.version, row.id, `${row.host}-${row.version}`];
  const rows = hosts.filter((row) => (version === undefined ? row.id.includes(exact) : namesOf(row).includes(exact)));
  if (rows.length > 0) {
    return rows;
  }
  if (version === undefined || !hosts.some((row) => row.host === host)) {
    const known = hosts.map(({ id }) => id).join(", ");
    throw new Error(`No host has ${name} in its name: ${known}; or a version that npm has, as openclaw-2026.4.21.`);
  }
  return [hostLike(host, version)];
}

/** A row for a version that is not in the table: the features of the last version before it. */
function hostLike(host, version) {
  const older = hosts.filter((row) => row.host === host && compare(row.version, version) <= 0);
  // The host's own help says whether it asks. Its channels may need packages that the registry of the tests has not.
  const { consent: _, chat: __, ...row } = older.at(-1) ?? hosts.find((one) => one.host === host);
  return { ...row, version, id: `${host}-${version}`, folder: elsewhere(host, version) };
}

/** Where a version that is not in the table is installed. */
function elsewhere(host, version) {
  return join(root, "target", "hosts", `${host}-${version}`);
}

/** Below zero where `one` is the older version. */
export function compare(one, other) {
  const [a, b] = [one, other].map((version) => version.split(/[.-]/).map((part) => Number(part) || 0));
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

/**
 * Installs the version of a row that is not in the table into target/, without a lockfile; `removeElsewhere` takes it
 * away again.
 *
 * @returns The row, with the first Node that the host names itself.
 */
export async function installElsewhere(row) {
  const { host, version } = row;
  if (!existsSync(join(row.folder, "package-lock.json"))) {
    await assertPublished(host, version);
    console.log(`Installing ${row.id} (half a GB) …`);
    mkdirSync(row.folder, { recursive: true });
    const { overrides } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const here = Object.entries(overrides).map(([name, spec]) => [name, spec.replace("file:", `file:${folder}/`)]);
    const text = JSON.stringify({ ...manifest(host, version), overrides: Object.fromEntries(here) }, null, 2);
    writeFileSync(join(row.folder, "package.json"), text);
    await succeed(["install", ...quietly], row.folder);
  }
  const { engines } = JSON.parse(readFileSync(join(row.folder, "node_modules", host, "package.json"), "utf8"));
  // ">=24.16.0 <25 || >=26.1.0": the first of them.
  const [, first] = />=\s*(\d+)/.exec(engines?.node ?? "") ?? [];
  const node = first === undefined ? row.node : Math.max(Number(first), serverNodeMajor);
  await setUp({ nodes: [node] });
  return { ...row, node };
}

export function removeElsewhere({ folder: place }) {
  rmSync(place, { recursive: true, force: true });
}

async function assertPublished(host, version) {
  const published = [await view(host, "versions")].flat();
  if (!published.includes(version)) {
    const month = version.split(".").slice(0, 2).join(".");
    const near = published.filter((one) => one.startsWith(`${month}.`));
    throw new Error(`npm has no ${host} ${version}, but ${(near.length > 0 ? near : published).join(", ")}.`);
  }
}

/** The newest release that npm has of a host, where the table has none that is as new. */
export async function newerThanTable(host) {
  const version = await view(host, "version");
  return hosts.some((row) => row.host === host && compare(row.version, version) >= 0) ? undefined : version;
}

async function view(host, member) {
  const { code, stdout, output } = await npm(["view", host, member, "--json"], root);
  if (code !== 0) {
    throw new Error(`npm view ${host} failed (exit code ${code}): ${output}`);
  }
  return JSON.parse(stdout);
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
