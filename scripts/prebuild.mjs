// Builds the binaries that are published, two for each platform (one knows the keychain), into npm/<platform>/, and
// checks what each asks of the system it runs on.
//
//   node scripts/prebuild.mjs                    those of this system: on Linux, the four Linux platforms
//   node scripts/prebuild.mjs linux-x64-gnu …    only these, by npm's name or Rust's
//
// Linux is built with zig as C compiler and linker (cargo-zigbuild): it links against any glibc, musl too, and for any
// processor. Both come from PyPI, into target/tools. macOS links there as well, with stubs of what zig lacks
// (macos-stubs.mjs): to be looked at, and compared with what the workflow builds on macOS. So does Android (android.mjs).
// Windows is built on Windows.
import { copyFileSync, existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { basename, delimiter, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { androidToolchain } from "./android.mjs";
import { libraries as built } from "./build.mjs";
import { output, run } from "./command.mjs";
import { readElf } from "./elf.mjs";
import { readMachO } from "./mach-o.mjs";
import { macosStubs } from "./macos-stubs.mjs";
import { builds, platformOf, platforms } from "./platforms.mjs";
import { root } from "./setup.mjs";

/** Every Linux since 2014 has it; Rust requires it. */
const glibc = "2.17";

/** The oldest macOS that Node 18 runs on is older; Rust's own floor for arm64. */
const macos = "11.0";

/** The most bytes of the default binary: hosts copy it into every capture of a plugin. */
const largest = 2_900_000;

export const zig = ["ziglang==0.17.0", "cargo-zigbuild==0.24.0"];

/** Where Debian's pip would refuse to install anything: a Python environment of our own. */
export async function pythonTools(name, packages, { dependencies = false } = {}) {
  const folder = join(root, "target", "tools", `${name}-${packages.map((one) => one.split("==")[1]).join("-")}`);
  const programs = join(folder, process.platform === "win32" ? "Scripts" : "bin");
  const installed = join(folder, "installed");
  if (!existsSync(installed)) {
    await output("python3", ["-m", "venv", "--clear", folder]);
    await output(join(programs, "python"), [
      "-m",
      "pip",
      "install",
      "--quiet",
      // What is imported is compiled then: a tenth of it.
      "--no-compile",
      ...(dependencies ? [] : ["--no-deps"]),
      ...packages,
    ]);
    copyFileSync(join(folder, "pyvenv.cfg"), installed);
  }
  return programs;
}

/** @param {import("./platforms.mjs").Platform} platform */
async function prebuild(platform) {
  const { target, os, libc, features } = platform;
  await addTarget(target);
  const sysroot = (await output("rustc", ["--print", "sysroot"])).trim();
  const isLinked = os !== "win32" && process.platform === "linux";
  // Rust's own std for small programs: docs/decisions/0007-the-standard-library-is-built-along.md.
  const ownStd = await hasRustSource();
  const flags = [
    // Panics name source files: without the folders of the machine that built them.
    `--remap-path-prefix=${process.env.CARGO_HOME ?? join(homedir(), ".cargo")}=/cargo`,
    `--remap-path-prefix=${join(sysroot, "lib", "rustlib", "src", "rust")}=/rust`,
    `--remap-path-prefix=${root}=/clawdbot-plugin-auth`,
    // Where a panic came from: 101 KB of file names and line numbers that no user needs (docs/evidence/size.md).
    "-Zlocation-detail=none",
    // Without derived debug output: another 81 KB less. A test checks that no sentence for users needs it.
    ...(features.length === 0 ? ["-Zfmt-debug=none"] : []),
    // Destructors need no unwinding out of a panic: 200 KB less. All crates have to agree, std as well.
    ...(ownStd ? ["-Zpanic-in-drop=abort"] : []),
    // An addon shares Node's musl; and on Windows it brings its C runtime along, which a bare system does not have.
    ...(libc === "musl" ? ["-Ctarget-feature=-crt-static"] : []),
    ...(os === "win32" ? ["-Ctarget-feature=+crt-static"] : []),
    // One table of its symbols, which every libc here reads, instead of two.
    ...(os === "linux" ? ["-Clink-arg=-Wl,--hash-style=gnu"] : []),
    // The name within the binary, which is otherwise the path that it was linked to.
    ...(os === "darwin" ? [`-Clink-arg=-Wl,-install_name,@rpath/${platform.binary}`] : []),
    ...(os === "darwin" && isLinked ? (await macosStubs()).map((option) => `-Clink-arg=${option}`) : []),
  ];
  // Lets the stable compiler take options that begin with -Z.
  const env = { MACOSX_DEPLOYMENT_TARGET: macos, CARGO_ENCODED_RUSTFLAGS: flags.join("\x1f"), RUSTC_BOOTSTRAP: "1" };
  let command = ["build", "--target", target];
  if (os === "android") {
    const toolchain = await androidToolchain(join(await pythonTools("zig", zig), "python"));
    env.CARGO_ENCODED_RUSTFLAGS = [...flags, ...toolchain.flags].join("\x1f");
    Object.assign(env, toolchain.env);
  }
  const std = ownStd ? ["-Zbuild-std=std,panic_unwind", "-Zbuild-std-features=optimize_for_size"] : [];
  if (isLinked && os !== "android") {
    env.PATH = `${await pythonTools("zig", zig)}${delimiter}${process.env.PATH}`;
    command = ["zigbuild", "--target", libc === "glibc" ? `${target}.${glibc}` : target];
  }
  const options = ["--release", "--locked", "--lib", `--features=${features}`, ...std];
  const code = await run("cargo", [...command, ...options], { env });
  if (code !== 0) throw new Error(`cargo ${command.join(" ")} failed (exit code ${code}).`);
  copyFileSync(join(root, "target", target, "release", built[os]), join(platform.folder, platform.binary));
}

async function addTarget(target) {
  const installed = await output("rustup", ["target", "list", "--installed"]).catch(() => undefined);
  // Without rustup (a Linux distribution's Rust), cargo says whether the target is there.
  if (installed !== undefined && !installed.split("\n").includes(target)) {
    await output("rustup", ["target", "add", target]);
  }
}

/** Without rustup there is only the std that came with the compiler: larger, and otherwise the same. */
async function hasRustSource() {
  const added = await output("rustup", ["component", "add", "rust-src"]).catch(() => undefined);
  return added !== undefined;
}

/** The libraries that each kind of Linux build, and Android's, may require: no more than Node itself requires. */
const libraries = {
  glibc: /^(libc\.so\.6|libm\.so\.6|libdl\.so\.2|libpthread\.so\.0|librt\.so\.1|ld-linux-.+)$/,
  musl: /^libc\.(so|musl-.+\.so\.1)$/,
  android: /^lib(c|m|dl|log)\.so$/,
};

const ofMacos =
  /^(\/usr\/lib\/lib(System\.B|iconv\.2|charset\.1|objc\.A)\.dylib|\/System\/Library\/Frameworks\/\w+\.framework\/Versions\/A\/\w+)$/;

/** @returns {string} What there is to say about a binary that is as it should be. */
export function check(platform) {
  const path = join(platform.folder, platform.binary);
  const content = readFileSync(path);
  const problems = [];
  const facts = [`${kilobytes(content)} KB`, `${kilobytes(gzipSync(content))} KB compressed`];
  if (content.includes(homedir()) || content.includes(root)) problems.push("it names folders of this machine");
  const isDefault = platform.features.length === 0;
  if (isDefault && content.length > largest) problems.push(`it is larger than ${largest} bytes`);
  if (platform.os === "linux" || platform.os === "android") {
    const elf = readElf(path);
    const highest = elf.versions
      .filter((version) => version.startsWith("GLIBC_"))
      .sort(byVersion)
      .at(-1);
    if (elf.cpu !== platform.cpu) problems.push(`it is for ${elf.cpu}`);
    if (!elf.whole) problems.push("it is not whole by the measure of index.js");
    if (!elf.staysLoaded) problems.push("it can be unloaded (see build.rs)");
    if (platform.libc === "glibc" && byVersion(highest, `GLIBC_${glibc}`) > 0) problems.push(`it needs ${highest}`);
    if (platform.os === "android" && elf.pages < 16_384) problems.push(`it fits pages of ${elf.pages} bytes only`);
    const foreign = elf.libraries.filter((library) => !libraries[platform.libc ?? platform.os].test(library));
    if (foreign.length > 0) problems.push(`it needs ${foreign.join(", ")}`);
    facts.push(`needs ${elf.libraries.join(", ")}`, ...(highest ? [`highest symbol ${highest}`] : []));
  }
  if (platform.os === "darwin") {
    const found = readMachO(path);
    if (found.cpu !== platform.cpu) problems.push(`it is for ${found.cpu}`);
    if (byVersion(found.minos, macos) > 0) problems.push(`it needs macOS ${found.minos}`);
    if (found.name !== `@rpath/${platform.binary}`) problems.push(`it calls itself ${found.name}`);
    if (!found.whole) problems.push("it is not whole");
    // Apple silicon loads no code without one; linkers, Apple's as well, sign no code for Intel.
    if (found.signature === "none" && found.cpu === "arm64") problems.push("it is not signed");
    const foreign = found.libraries.filter((library) => !ofMacos.test(library));
    if (foreign.length > 0) problems.push(`it needs ${foreign.join(", ")}`);
    const homeless = [...found.wanted].filter(([, library]) => library === "").map(([name]) => name);
    if (homeless.length > 0) problems.push(`no library has ${homeless.join(", ")}`);
    if (!found.exported.includes("_napi_register_module_v1")) problems.push("it is no addon");
    facts.push(`macOS ${found.minos}`, `needs ${found.libraries.map((path) => basename(path)).join(", ")}`);
    facts.push(`signed ${found.signature}`);
  }
  if (problems.length > 0) throw new Error(`${relative(root, path)}: ${problems.join("; ")}.`);
  return `${relative(root, path)}: ${facts.join(", ")}`;
}

function kilobytes(content) {
  return Math.round(content.length / 1000);
}

function byVersion(left, right) {
  const [a, b] = [left, right].map((version) => version.replace("GLIBC_", "").split(".").map(Number));
  const differs = a.findIndex((part, index) => part !== (b[index] ?? 0));
  return differs === -1 ? a.length - b.length : a[differs] - (b[differs] ?? 0);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    const names = process.argv.slice(2);
    const wanted = names.length > 0 ? names.map(platformOf) : platforms.filter(({ os }) => os === process.platform);
    for (const platform of wanted) {
      for (const build of builds.filter(({ name }) => name === platform.name)) {
        console.log(`\n━━━ ${build.package}`);
        await prebuild(build);
        console.log(check(build));
      }
    }
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
