// The symbols of macOS that the linker needs beyond zig's own (libSystem): the names that the crates use of three
// frameworks and of libiconv, as their own sources declare them. Nothing of Apple's is needed, or copied.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { output } from "./command.mjs";
import { root } from "./setup.mjs";

/** The crate that declares each, and where macOS has it. */
const frameworks = {
  CoreFoundation: "core-foundation-sys",
  Security: "security-framework-sys",
  SystemConfiguration: "system-configuration-sys",
};
/** Rust's std asks for it and uses nothing of it. */
const iconv = "/usr/lib/libiconv.2.dylib";

/** @returns {Promise<string[]>} Arguments for the linker. */
export async function macosStubs() {
  const folder = join(root, "target", "macos-stubs");
  const sources = await sourcesOf(Object.values(frameworks));
  for (const [name, crate] of Object.entries(frameworks)) {
    const path = join(folder, `${name}.framework`, `${name}.tbd`);
    const installed = `/System/Library/Frameworks/${name}.framework/Versions/A/${name}`;
    write(path, installed, declaredIn(sources.get(crate)));
  }
  write(join(folder, "libiconv.tbd"), iconv, ["iconv"]);
  return [`-F${folder}`, `-L${folder}`];
}

function write(path, installed, names) {
  mkdirSync(dirname(path), { recursive: true });
  const targets = "[ x86_64-macos, arm64-macos ]";
  const symbols = names.map((name) => `'_${name}'`).join(", ");
  writeFileSync(
    path,
    `--- !tapi-tbd\ntbd-version:     4\ntargets:         ${targets}\ninstall-name:    '${installed}'\n` +
      `exports:\n  - targets:         ${targets}\n    symbols:         [ ${symbols} ]\n...\n`,
  );
}

async function sourcesOf(crates) {
  const said = await output("cargo", ["metadata", "--locked", "--format-version=1", "--all-features"]);
  const { packages } = JSON.parse(said);
  return new Map(crates.map((crate) => [crate, dirname(packages.find(({ name }) => name === crate).manifest_path)]));
}

/** Functions and values of `extern "C"` blocks. */
function declaredIn(folder) {
  const sources = readdirSync(join(folder, "src"), { recursive: true }).filter((name) => name.endsWith(".rs"));
  const names = sources.flatMap((name) => {
    const text = readFileSync(join(folder, "src", name), "utf8");
    return [...text.matchAll(/^\s+pub (?:fn|static) (\w+)\s*[(:]/gm)].map(([, found]) => found);
  });
  return [...new Set(names)].sort();
}
