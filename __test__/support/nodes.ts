/** The Node versions that tests run programs on, besides the one that runs the tests. */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const nodeMajors = [18, 20, 22, 24, 26] as const;
export type NodeMajor = (typeof nodeMajors)[number];

const folder = join(dirname(dirname(fileURLToPath(import.meta.url))), "nodes");
const runningMajor = Number(process.versions.node.split(".")[0]);

/** The program of this Node version: our own where it is the one. */
export function nodeBinary(major: NodeMajor): string {
  if (major === runningMajor) {
    return process.execPath;
  }
  const binary = process.platform === "win32" ? "node.exe" : "node";
  const packages = [`node-${platform()}-${process.arch}`, `node-bin-${platform()}-${process.arch}`];
  for (const name of packages) {
    const path = join(folder, String(major), "node_modules", name, "bin", binary);
    if (existsSync(path)) {
      return path;
    }
  }
  throw new Error(`Node ${major} is not installed: run node scripts/setup.mjs --nodes ${major}`);
}

/** The Node that oidc-provider runs on: it wants 22 or newer. */
export const serverNodeMajor = (nodeMajors.find((major) => major >= 22 && major === runningMajor) ?? 22) as NodeMajor;

export function serverNodeBinary(): string {
  return runningMajor >= 22 ? process.execPath : nodeBinary(22);
}

function platform(): string {
  return process.platform === "win32" ? "win" : process.platform;
}
