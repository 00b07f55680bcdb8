// The software bill of materials of the binaries (CycloneDX 1.5): every crate that is linked into one of them, or
// writes code of it at compile time (procedural macros).
//
//   node scripts/sbom.mjs <file>
//
// From cargo's own data, without a tool that would have to be trusted and built first.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { output } from "./command.mjs";
import { platforms } from "./platforms.mjs";
import { root } from "./setup.mjs";

/** `name@version` of everything that the addon of that target is linked from, the keychain's included. */
async function linkedCrates(target) {
  const tree = await output("cargo", [
    ...["tree", "--locked", "--all-features", "--edges", "normal", "--prefix", "none", "--target", target],
    ...["--format", "{p}"],
  ]);
  return new Set([...tree.matchAll(/^(\S+) v(\S+)/gm)].map(([, name, version]) => `${name}@${version}`));
}

async function sbom() {
  const dependencies = new Map();
  const crates = new Map();
  let rootId;
  // One platform at a time: of several, a dependency of one's would be taken for that of another's dependency.
  for (const { target } of platforms) {
    const args = ["metadata", "--locked", "--all-features", "--format-version", "1", "--filter-platform", target];
    const { packages, resolve } = JSON.parse(await output("cargo", args));
    for (const crate of packages) crates.set(crate.id, crate);
    const nodes = new Map(resolve.nodes.map((node) => [node.id, node]));
    const seen = new Set();
    // Metadata has what features of development would turn on as well; the tree has not.
    const linked = await linkedCrates(target);
    const visit = (id) => {
      if (seen.has(id)) return;
      seen.add(id);
      if (!dependencies.has(id)) dependencies.set(id, new Set());
      for (const { pkg, dep_kinds: kinds } of nodes.get(id).deps) {
        // Neither what only tests use nor what only build scripts use.
        const { name, version } = crates.get(pkg);
        if (!kinds.some(({ kind }) => kind === null) || !linked.has(`${name}@${version}`)) continue;
        dependencies.get(id).add(pkg);
        visit(pkg);
      }
    };
    rootId = resolve.root;
    visit(rootId);
  }

  const checksums = checksumsOfLockfile();
  const reference = (id) => `pkg:cargo/${crates.get(id).name}@${crates.get(id).version}`;
  const component = (id) => {
    const { name, version, license } = crates.get(id);
    const checksum = checksums.get(`${name}@${version}`);
    return {
      type: "library",
      "bom-ref": reference(id),
      name,
      version,
      purl: reference(id),
      ...(license ? { licenses: [{ expression: license.replaceAll("/", " OR ") }] } : {}),
      ...(checksum ? { hashes: [{ alg: "SHA-256", content: checksum }] } : {}),
    };
  };
  const ids = [...dependencies.keys()];
  return {
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    version: 1,
    metadata: { component: component(rootId) },
    components: ids.filter((id) => id !== rootId).map(component),
    dependencies: ids.map((id) => ({ ref: reference(id), dependsOn: [...dependencies.get(id)].map(reference) })),
  };
}

function checksumsOfLockfile() {
  const lockfile = readFileSync(join(root, "Cargo.lock"), "utf8");
  const entry = /name = "(.+)"\nversion = "(.+)"\nsource = ".+"\nchecksum = "(.+)"/g;
  return new Map([...lockfile.matchAll(entry)].map(([, name, version, checksum]) => [`${name}@${version}`, checksum]));
}

try {
  const [path] = process.argv.slice(2);
  if (path === undefined) throw new Error("Which file? node scripts/sbom.mjs <file>");
  const bill = await sbom();
  writeFileSync(path, `${JSON.stringify(bill, null, 2)}\n`);
  console.log(`${path}: ${bill.components.length} crates`);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
