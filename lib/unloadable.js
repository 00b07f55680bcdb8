"use strict";

// Says in one sentence why the binary for this machine cannot be loaded, and what to do.
const fs = require("node:fs");
const { bundled } = require("./unusable.js");

const MAIN = "clawdbot-plugin-auth";

function isBundled() {
  try {
    return JSON.parse(fs.readFileSync(`${__dirname}/../package.json`, "utf8")).name !== MAIN;
  } catch {
    return true;
  }
}

/** The binary of `npm run build` in a checkout, for any ABI: android-arm-eabi, linux-arm-gnueabihf, win32-x64-gnu. */
function ownBuild(name, abis) {
  const { platform, arch } = process;
  const start = `${name}.${platform}-${arch}-`;
  const folder = `${__dirname}/..`;
  try {
    for (const file of fs.readdirSync(folder)) {
      const abi = file.slice(start.length, -".node".length);
      if (file.startsWith(start) && file.endsWith(".node") && !abis.includes(abi))
        return { abi, path: `${folder}/${file}` };
    }
  } catch {}
  return undefined;
}

/** @param failures what each of the `abis` failed with: a map from one to a message */
function unloadable(name, abis, failures) {
  const { platform, arch } = process;
  const { version } = require("../package.json");
  const isPhone = platform === "android" && arch === "arm64" && name === MAIN;
  const isKnown = isPhone || (["linux", "darwin", "win32"].includes(platform) && ["x64", "arm64"].includes(arch));
  if (!isKnown) {
    const [failure] = failures.values();
    const why =
      failure === undefined
        ? `there are binaries for Linux, macOS and Windows on x64 and arm64${name === MAIN ? ", and for Android on arm64" : ""}`
        : `the one that is there does not load (${failure})`;
    const next =
      platform === "android"
        ? "In Termux, run the host in a Linux of proot-distro, for which there is one: docs/operations/platforms.md of the package."
        : "With Rust installed, it can be built in a checkout with `npm run build`.";
    return `${name} has no working binary for ${platform} ${arch}: ${why}. ${next}`;
  }
  if (name === MAIN && failures.size === 0 && isBundled()) return bundled(__filename);
  let abi = abis[0];
  if (platform === "linux") abi = libcAbi() ?? [...failures.keys()][0] ?? abi;
  const wanted = [name, platform, arch, abi].filter(Boolean).join("-");
  const reasons = failures.has(abi)
    ? [`its binary does not load (${failures.get(abi)})`]
    : [`the package ${wanted} is missing`];
  for (const [other, failure] of failures) {
    if (other !== abi) reasons.push(`the one for ${other}, which is there, does not load (${failure})`);
  }
  const again =
    `Install ${name} again, on the machine that runs it and without --omit=optional; where a lockfile from another ` +
    `machine leaves the package out, add ${wanted}@${version}. In a checkout run \`npm run build\`.`;
  const where = [platform, arch, abi].filter(Boolean).join(" ");
  return `${name} has no working binary for ${where}: ${reasons.join("; ")}. ${cure(failures.get(abi)) ?? again}`;
}

/** Undefined where the report may not be had: Deno wants --allow-sys for it. */
function libcAbi() {
  try {
    process.report.excludeNetwork = true;
    return process.report.getReport().header.glibcVersionRuntime === undefined ? "musl" : "gnu";
  } catch {
    return undefined;
  }
}

// Where installing again would change nothing.
function cure(failure = "") {
  if (/failed to map segment/.test(failure)) {
    return "Its folder is on a file system mounted noexec, or a security policy forbids code there: install the plugin elsewhere.";
  }
  if (/EACCES|Permission denied/.test(failure)) return "Give the user that runs this process read access to that file.";
  if (/GLIBC_[\d.]+' not found/.test(failure)) return "This system is too old: it takes glibc 2.17 or newer.";
  return undefined;
}

module.exports = { ownBuild, unloadable };
