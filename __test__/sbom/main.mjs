// Whether the software bill of materials is what it says: valid CycloneDX by its own schema, and every crate that cargo
// makes a part of one of the binaries, with the checksum of the lockfile, and nothing else.
//
//   node __test__/sbom/main.mjs
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { output } from "../../scripts/command.mjs";
import { platforms } from "../../scripts/platforms.mjs";
import { install, root } from "../../scripts/setup.mjs";

await install(dirname(fileURLToPath(import.meta.url)), "what validates a bill of materials");
const { Spec, Validation } = await import("@cyclonedx/cyclonedx-library");
const validator = new Validation.JsonStrictValidator(Spec.Version.v1dot5);

const folder = mkdtempSync(join(tmpdir(), "sbom-"));
try {
  const path = join(folder, "bom.json");
  await output(process.execPath, [join(root, "scripts", "sbom.mjs"), path]);
  const text = readFileSync(path, "utf8");
  assert.equal(await validator.validate(text), null, "valid by the schema");
  for (const [right, wrong] of [
    ['"bomFormat": "CycloneDX"', '"bomFormat": "Other"'],
    ['"type": "library"', '"type": "book"'],
    ['"alg": "SHA-256"', '"alg": "SHA-0"'],
    ['"content": "', '"content": "no hexadecimal digit'],
  ]) {
    assert.notEqual(await validator.validate(text.replace(right, wrong)), null, `the validator sees ${wrong}`);
  }

  const bill = JSON.parse(text);
  const listed = bill.components.map(({ name, version }) => `${name}@${version}`).sort();
  const expected = await linked();
  const missing = expected.filter((crate) => !listed.includes(crate));
  const foreign = listed.filter((crate) => !expected.includes(crate));
  assert.deepEqual({ missing, foreign }, { missing: [], foreign: [] });
  const references = new Set([bill.metadata.component, ...bill.components].map((component) => component["bom-ref"]));
  assert.equal(references.size, listed.length + 1);
  for (const { ref, dependsOn } of bill.dependencies) {
    for (const reference of [ref, ...dependsOn]) assert.ok(references.has(reference), reference);
  }
  assert.equal(bill.dependencies.length, references.size);
  const lockfile = readFileSync(join(root, "Cargo.lock"), "utf8");
  for (const { name, hashes, licenses } of bill.components) {
    assert.ok(lockfile.includes(`checksum = "${hashes[0].content}"`), name);
    assert.ok(licenses.length > 0, name);
  }
  console.log(`The bill of materials is valid CycloneDX 1.5 and complete: ${listed.length} crates.`);
} finally {
  rmSync(folder, { recursive: true });
}

/** The crates that cargo itself lists as parts of a binary, on any of the platforms. */
async function linked() {
  const crates = new Set();
  for (const { target } of platforms) {
    const tree = await output("cargo", [
      ...["tree", "--all-features", "--locked", "--edges", "normal", "--prefix", "none", "--target", target],
      ...["--format", "{p}"],
    ]);
    for (const line of tree.split("\n")) {
      const [, name, version] = /^(\S+) v(\S+)/.exec(line) ?? [];
      if (name !== undefined && name !== "clawdbot-plugin-auth") crates.add(`${name}@${version}`);
    }
  }
  return [...crates].sort();
}
