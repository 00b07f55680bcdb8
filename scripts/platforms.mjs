// The platforms with a prebuilt binary: Rust's name of each in package.json, and what npm and Node call it.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./setup.mjs";

const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

const cpus = { x86_64: "x64", aarch64: "arm64" };
const systems = { linux: "linux", darwin: "darwin", windows: "win32", android: "android" };
const libcs = { gnu: "glibc", musl: "musl" };

/** The package that users add for `storage: "keychain"`. */
export const keychainPackage = `${manifest.name}-keychain`;

/** @type {import("./platforms.mjs").Platform[]} */
export const platforms = manifest.napi.targets.map((target) => {
  // Android has no vendor.
  const [architecture, , system, abi] = target.replace("-linux-android", "-unknown-android").split("-");
  const os = systems[system];
  const cpu = cpus[architecture];
  const name = [os, cpu, abi].filter((part) => part !== undefined).join("-");
  return {
    target,
    name,
    os,
    cpu,
    ...(os === "linux" ? { libc: libcs[abi] } : {}),
    package: `${manifest.name}-${name}`,
    binary: `${manifest.napi.binaryName}.${name}.node`,
    folder: join(root, "npm", name),
    features: [],
  };
});

/**
 * The same platform's build that knows the system's keychain.
 *
 * @param {import("./platforms.mjs").Platform} platform
 * @returns {import("./platforms.mjs").Platform}
 */
export function keychainBuildOf(platform) {
  const { name } = platform;
  return {
    ...platform,
    package: `${keychainPackage}-${name}`,
    binary: `${manifest.napi.binaryName}-keychain.${name}.node`,
    features: ["keychain"],
  };
}

/** All that is published; Android has no keychain. */
export const builds = [...platforms, ...platforms.filter(({ os }) => os !== "android").map(keychainBuildOf)];

/** @param {string} wanted Either name, Rust's or npm's. */
export function platformOf(wanted) {
  const found = platforms.find(({ target, name }) => target === wanted || name === wanted);
  if (found === undefined) {
    throw new Error(`${wanted} is none of ${platforms.map(({ name }) => name).join(", ")}.`);
  }
  return found;
}

/** The platform of the Node that runs us, if there is a binary for it. */
export function runningPlatform() {
  return platforms.find(
    ({ os, cpu, libc }) =>
      os === process.platform && cpu === process.arch && (libc === undefined || libc === runningLibc()),
  );
}

function runningLibc() {
  process.report.excludeNetwork = true;
  return process.report.getReport().header.glibcVersionRuntime === undefined ? "musl" : "glibc";
}
