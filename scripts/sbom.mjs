// The software bill of materials of the binaries (CycloneDX 1.5): every crate that is linked into one of them.
//
//   node scripts/sbom.mjs <file>
//
// From cargo's own data, without a tool that would have to be trusted and built first.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { output } from "./command.mjs";
import { platforms } from "./platforms.mjs";
import { root } from "./setup.mjs";

async function sbom() {
  const targets = platforms.flatMap(({ target }) => ["--filter-platform", target]);
  const metadata = JSON.parse(
    await output("cargo", ["metadata", "--locked", "--all-features", "--format-version", "1", ...targets]),
  );
  const nodes = new Map(metadata.resolve.nodes.map((node) => [node.id, node]));
  const dependencies = new Map();
  const visit = (id) => {
    if (dependencies.has(id)) return;
    // Neither what only tests use nor what only build scripts use.
    const linked = nodes.get(id).deps.filter(({ dep_kinds: kinds }) => kinds.some(({ kind }) => kind === null));
    dependencies.set(
      id,
      linked.map(({ pkg }) => pkg),
    );
    for (const { pkg } of linked) visit(pkg);
  };
  visit(metadata.resolve.root);

  const crates = new Map(metadata.packages.map((crate) => [crate.id, crate]));
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
    metadata: { component: component(metadata.resolve.root) },
    components: ids.filter((id) => id !== metadata.resolve.root).map(component),
    dependencies: ids.map((id) => ({ ref: reference(id), dependsOn: dependencies.get(id).map(reference) })),
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
