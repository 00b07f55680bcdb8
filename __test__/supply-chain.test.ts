/** Checks the parts of the package, and the code that runs when it is built or installed. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { platforms } from "../scripts/platforms.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Crates with build scripts that run on the machine that builds a release, and their purposes. */
const buildScripts: Record<string, string> = {
  "clawdbot-plugin-auth": "linker options of a Node addon, by napi-build",
  httparse: "asks for the processor's vector instructions",
  jni: "asks for the system (Android)",
  "jni-macros": "asks what the compiler can do (Android)",
  libc: "asks which compiler and C library it is built for",
  napi: "passes on what napi-build found",
  "napi-sys": "nothing outside of Windows",
  "proc-macro2": "asks what the compiler can do",
  quote: "asks what the compiler can do",
  ring: "compiles its C and assembler code",
  rustix: "asks which system and compiler it is built for",
  rustls: "asks for a nightly compiler",
  serde: "asks what the compiler can do",
  serde_core: "asks what the compiler can do",
  serde_json: "asks for the width of the processor",
  "system-configuration-sys": "links the system's framework (macOS)",
  thiserror: "asks what the compiler can do (Android)",
  windows_aarch64_msvc: "names its import library (Windows on arm64)",
  zmij: "asks what the compiler can do",
};

interface Metadata {
  packages: { id: string; name: string; targets: { kind: string[] }[] }[];
  resolve: { root: string; nodes: { id: string; deps: { pkg: string; dep_kinds: { kind: string | null }[] }[] }[] };
}

test("no crate runs a build script that was not looked at", () => {
  const found = new Set<string>();
  for (const { target } of platforms) {
    const args = ["metadata", "--locked", "--all-features", "--format-version", "1", "--filter-platform", target];
    const { packages, resolve } = JSON.parse(
      execFileSync("cargo", args, { cwd: root, maxBuffer: 1 << 26, stdio: ["ignore", "pipe", "ignore"] }).toString(),
    ) as Metadata;
    const reached = new Set([resolve.root]);
    // Crates that only tests use reach no user.
    for (const id of reached) {
      for (const { pkg, dep_kinds: kinds } of resolve.nodes.find((node) => node.id === id)?.deps ?? []) {
        if (kinds.some(({ kind }) => kind !== "dev")) reached.add(pkg);
      }
    }
    for (const { id, name, targets } of packages) {
      if (reached.has(id) && targets.some(({ kind }) => kind.includes("custom-build"))) found.add(name);
    }
  }
  const allowed = Object.keys(buildScripts);
  assert.deepEqual(
    [...found].filter((name) => !allowed.includes(name)),
    [],
    "look at them, then list them",
  );
  assert.deepEqual(
    allowed.filter((name) => !found.has(name)),
    [],
    "no longer there",
  );
});

test("installing the package runs nothing and brings no other package", () => {
  const manifests = [
    join(root, "package.json"),
    ...readdirSync(join(root, "npm")).map((name) => join(root, "npm", name, "package.json")),
  ];
  assert.equal(manifests.filter((path) => existsSync(path)).length, platforms.length + 1);
  for (const path of manifests) {
    const { scripts = {}, dependencies = {}, peerDependencies = {}, peerDependenciesMeta = {}, gypfile } = json(path);
    for (const name of ["preinstall", "install", "postinstall", "prepare", "preuninstall", "postuninstall"]) {
      assert.equal(scripts[name], undefined, `${name} in ${path}`);
    }
    assert.deepEqual([dependencies, gypfile], [{}, undefined], path);
    // The clients of the engines of shared stores: their users install them.
    const brought = Object.keys(peerDependencies).filter((name) => peerDependenciesMeta[name]?.optional !== true);
    assert.deepEqual(brought, [], path);
    assert.ok(!existsSync(join(dirname(path), "binding.gyp")), "npm would build it");
  }
});

test("of the packages for development, two have an install script, and none is run", () => {
  const { packages = {} } = json(join(root, "package-lock.json"));
  const withScript = Object.entries(packages).filter(([, { hasInstallScript }]) => hasInstallScript === true);
  // One replaces a file by a link to its binary, which works without; the other warns of versions.
  assert.deepEqual(
    withScript.map(([name]) => name),
    ["node_modules/esbuild", "node_modules/protobufjs"],
  );
  for (const file of tracked().filter((file) => /^(scripts|\.ci|\.github|__test__\/install)\//.test(file))) {
    for (const line of readFileSync(join(root, file), "utf8").split("\n")) {
      if (/npm\(\["ci"|^\W*(run: )?npm (ci|install)\b/.test(line) && !/^\s*(\/\/|#)/.test(line))
        assert.match(line, /--ignore-scripts/, file);
    }
  }
});

test("every manifest has its lockfile, committed, with a checksum of every package", () => {
  const files = tracked();
  const manifests = files.filter((file) => file.endsWith("package.json") && !/^examples\/|\/fixtures\//.test(file));
  for (const manifest of manifests) {
    const { dependencies = {}, devDependencies = {} } = json(join(root, manifest));
    if (Object.keys({ ...dependencies, ...devDependencies }).length === 0) continue;
    const lockfile = join(dirname(manifest), "package-lock.json");
    assert.ok(files.includes(lockfile), lockfile);
    for (const [name, { integrity, link, inBundle }] of Object.entries(json(join(root, lockfile)).packages ?? {})) {
      assert.ok(
        name === "" || link === true || inBundle === true || typeof integrity === "string",
        `${name} in ${lockfile}`,
      );
    }
  }
  assert.ok(files.includes("Cargo.lock"));
  const crates = readFileSync(join(root, "Cargo.lock"), "utf8").split("[[package]]").slice(1);
  for (const crate of crates.filter((crate) => !crate.includes('name = "clawdbot-plugin-auth"'))) {
    assert.match(crate, /source = "registry\+.*"\nchecksum = "[0-9a-f]{64}"/);
  }
});

test("no source has unsafe Rust but for the access lists of Windows and one function that Node calls; the macros of napi generate theirs at build time", () => {
  const few = ["src/fs/access_list/system.rs", "src/bindings/fast_call.rs"];
  const sources = tracked().filter((file) => file.endsWith(".rs") && !few.includes(file));
  assert.ok(sources.length > 80);
  assert.match(readFileSync(join(root, "src/fs/mod.rs"), "utf8"), /^#\[cfg\(not\(unix\)\)\]\nmod access_list;$/m);
  for (const file of sources) {
    const code = readFileSync(join(root, file), "utf8")
      .replace(/\/\/.*$/gm, "")
      .replace(/"(\\.|[^"\\])*"/g, '""');
    // In attributes too: #[unsafe(…)], #[allow(unsafe_code)].
    assert.doesNotMatch(code, /\bunsafe(_code)?\b/, file);
  }
  const function_ = readFileSync(join(root, "src/bindings/fast_call.rs"), "utf8").replace(/\/\/.*$/gm, "");
  assert.equal(function_.match(/\bunsafe\b/g)?.length, 2, "the function, and its answer");
  assert.match(readFileSync(join(root, "Cargo.toml"), "utf8"), /^unsafe_code = "deny"$/m);
});

/** A manifest or a lockfile, as far as it is looked at. */
interface Manifest {
  scripts?: Record<string, string>;
  dependencies?: Record<string, string>;
  devDependencies?: Record<string, string>;
  peerDependenciesMeta?: Record<string, { optional?: boolean }>;
  peerDependencies?: Record<string, string>;
  gypfile?: boolean;
  packages?: Record<string, { hasInstallScript?: boolean; integrity?: string; link?: boolean; inBundle?: boolean }>;
}

function json(path: string): Manifest {
  return JSON.parse(readFileSync(path, "utf8"));
}

function tracked(): string[] {
  const list = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], { cwd: root });
  return list
    .toString()
    .split("\0")
    .filter((file) => file !== "" && existsSync(join(root, file)));
}
