/** The packages that users install: this package, its binary for this machine, and the example plugin. */
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const run = promisify(execFile);

export interface Packages {
  /** Archives of the package and of its binary. */
  library: string[];
  /** The example plugin, 1.0.0. */
  plugin: string;
  /** The contents of 1.0.1 under a newer version. */
  newerPlugin: string;
}

/**
 * @param folder An empty one, for what is made on the way where scripts/test-hosts.mjs has not packed it for all
 * tests.
 */
export async function packages(folder: string): Promise<Packages> {
  const shared = process.env.PLUGIN_AUTH_PACKAGES;
  return shared === undefined ? packed(folder) : (JSON.parse(readFileSync(shared, "utf8")) as Packages);
}

async function packed(folder: string): Promise<Packages> {
  const plugin = join(folder, "plugin");
  return {
    library: [await packedLibrary(join(folder, "library")), await packedBinary(join(folder, "binary"))],
    plugin: await packedPlugin(plugin),
    newerPlugin: await packedNewer(plugin),
  };
}

const { name: libraryName, version } = manifest(root) as { name: string; version: string };
/** Among several, the first build for this machine: -gnu before -musl. */
const binary =
  readdirSync(root)
    .filter((name) => name.startsWith(`${libraryName}.${process.platform}-${process.arch}`) && name.endsWith(".node"))
    .sort()[0] ?? "";
const binaryPackage = `${libraryName}-${binary.slice(libraryName.length + 1, -".node".length)}`;

/** The package as published: with its binaries as optional dependencies, of which this machine's is here. */
async function packedLibrary(folder: string): Promise<string> {
  mkdirSync(folder);
  const archive = await pack(root, folder);
  await run("tar", ["-xzf", archive, "-C", folder]);
  const unpacked = join(folder, "package");
  edit(unpacked, { optionalDependencies: { [binaryPackage]: version } });
  return pack(unpacked, folder);
}

async function packedBinary(folder: string): Promise<string> {
  mkdirSync(folder);
  cpSync(join(root, binary), join(folder, binary));
  const platform = { os: [process.platform], cpu: [process.arch] };
  writeFileSync(
    join(folder, "package.json"),
    JSON.stringify({ name: binaryPackage, version, main: binary, files: [binary], ...platform }),
  );
  return pack(folder, folder);
}

/** The example, compiled by its own tsconfig.json against the package as published. */
async function packedPlugin(folder: string): Promise<string> {
  cpSync(join(root, "examples", "memory-plugin"), folder, { recursive: true });
  mkdirSync(join(folder, "node_modules", "@types"), { recursive: true });
  symlinkSync(root, join(folder, "node_modules", libraryName), "junction");
  symlinkSync(join(root, "node_modules", "@types", "node"), join(folder, "node_modules", "@types", "node"), "junction");
  // npm asks the registry about devDependencies even where it omits them; this registry holds no compiler.
  const dependencies = { [libraryName]: version };
  edit(folder, { version: "1.0.0", dependencies, devDependencies: undefined });
  await run(process.execPath, [join(root, "node_modules", "typescript", "bin", "tsc")], { cwd: folder });
  return pack(folder, folder);
}

async function packedNewer(folder: string): Promise<string> {
  edit(folder, { version: "1.0.1" });
  return pack(folder, folder);
}

/** Packs what the folder's package.json names. */
export async function pack(folder: string, destination: string): Promise<string> {
  const args = ["pack", "--ignore-scripts", "--json", "--pack-destination", destination];
  const { stdout } = await run("npm", args, { cwd: folder, shell: process.platform === "win32" });
  const [{ filename }] = JSON.parse(stdout) as [{ filename: string }];
  return join(destination, filename);
}

function edit(folder: string, members: Record<string, unknown>): void {
  writeFileSync(join(folder, "package.json"), JSON.stringify({ ...manifest(folder), ...members }, null, 2));
}

function manifest(folder: string): Record<string, unknown> {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Record<string, unknown>;
}

/** packages.ts <folder> <file>: packs in that folder, and writes what there is into that file. */
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , folder = "", file = ""] = process.argv;
  writeFileSync(file, JSON.stringify(await packed(folder)));
}
