"use strict";

// Finds the binary for this machine and loads it, or says in one sentence why that cannot be done.
const fs = require("node:fs");
const { createRequire } = require("node:module");
const { ADDONS_DISABLED, bundled } = require("./unusable.js");

// What is found at run time is asked for through this: a bundler that meets a computed `require` takes every file that could
// be meant.
const requireHere = createRequire(__filename);
const MAIN = "clawdbot-plugin-auth";

// Package managers that hoist nothing let only a package itself see what it depends on.
function resolve(name, triple) {
  if (name === MAIN) return requireHere.resolve(`${name}-${triple}`);
  const { version, resolve: resolveBinary } = requireHere(name);
  const own = require("../package.json").version;
  if (version !== own) throw new Error(`version ${version} is installed, and ${own} is needed`);
  return resolveBinary(triple);
}

function existing(path) {
  return fs.existsSync(path) ? path : undefined;
}

function load(name) {
  const { platform, arch } = process;
  // Where there is no binary of ours there may be one that the user has built.
  const abis = { linux: ["gnu", "musl"], win32: ["msvc"] }[platform] ?? [undefined];
  const failures = new Map();
  for (const abi of abis) {
    const triple = abi === undefined ? `${platform}-${arch}` : `${platform}-${arch}-${abi}`;
    // In a checkout it lies beside index.js, or beside a bundle. Looking costs less than a require that fails.
    try {
      const path =
        existing(`${__dirname}/../${name}.${triple}.node`) ??
        existing(`${__dirname}/${name}.${triple}.node`) ??
        resolve(name, triple);
      if (platform === "linux") checkWhole(path);
      return requireHere(path);
    } catch (error) {
      if (error.code === "ERR_DLOPEN_DISABLED") throw new Error(ADDONS_DISABLED);
      if (error.code !== "MODULE_NOT_FOUND") failures.set(abi, error.message.replace(/\s+/g, " "));
    }
  }
  throw Object.assign(new Error(unloadable(name, abis, failures)), { isMissing: failures.size === 0 });
}

function isBundled() {
  try {
    return JSON.parse(fs.readFileSync(`${__dirname}/../package.json`, "utf8")).name !== MAIN;
  } catch {
    return true;
  }
}

// The system maps a truncated binary all the same; then touching what is not there kills the process with SIGBUS.
function checkWhole(path) {
  const file = fs.openSync(path, "r");
  try {
    const header = new DataView(new ArrayBuffer(64));
    fs.readSync(file, header);
    // 64-bit little-endian ELF ends with its section headers. What is none, the system's loader refuses.
    if (header.getUint32(0) !== 0x7f454c46 || header.getUint16(4) !== 0x0201) return;
    const end = header.getUint32(40, true) + header.getUint16(58, true) * header.getUint16(60, true);
    if (fs.readSync(file, header, 0, 1, end - 1) === 0) throw new Error(`${path}: the file is truncated`);
  } finally {
    fs.closeSync(file);
  }
}

function unloadable(name, abis, failures) {
  const { platform, arch } = process;
  const { version } = require("../package.json");
  const isKnown = ["linux", "darwin", "win32"].includes(platform) && ["x64", "arm64"].includes(arch);
  if (!isKnown) {
    const [failure] = failures.values();
    const why =
      failure === undefined
        ? "there are binaries for Linux, macOS and Windows on x64 and arm64"
        : `the one that is there does not load (${failure})`;
    const next =
      platform === "android"
        ? "In Termux, run the host in a Linux of proot-distro, for which there is one: docs/platforms.md of the package."
        : "With Rust installed, it can be built in a checkout with `npm run build`.";
    return `${name} has no working binary for ${platform} ${arch}: ${why}. ${next}`;
  }
  if (name === MAIN && failures.size === 0 && isBundled()) return bundled(__filename);
  let abi = abis[0];
  if (platform === "linux") {
    process.report.excludeNetwork = true;
    abi = process.report.getReport().header.glibcVersionRuntime === undefined ? "musl" : "gnu";
  }
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

// Where installing again would change nothing.
function cure(failure = "") {
  if (/failed to map segment/.test(failure)) {
    return "Its folder is on a file system mounted noexec, or a security policy forbids code there: install the plugin elsewhere.";
  }
  if (/EACCES|Permission denied/.test(failure)) return "Give the user that runs this process read access to that file.";
  if (/GLIBC_[\d.]+' not found/.test(failure)) return "This system is too old: it takes glibc 2.17 or newer.";
  return undefined;
}

module.exports = { load };
