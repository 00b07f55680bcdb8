// `npm version <new version>` runs this between package.json and its commit: the same version everywhere else.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { platforms } from "./platforms.mjs";
import { root } from "./setup.mjs";

const { name, version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

function replace(path, pattern, replacement) {
  const before = readFileSync(path, "utf8");
  if (!pattern.test(before)) throw new Error(`${path} has no version.`);
  writeFileSync(path, before.replace(pattern, replacement));
}

replace(join(root, "Cargo.toml"), /^version = ".+"$/m, `version = "${version}"`);
replace(join(root, "lib", "images.js"), /^const VERSION = ".+"/m, `const VERSION = "${version}"`);
replace(join(root, "Cargo.lock"), new RegExp(`(name = "${name}"\\nversion = ").+"`), `$1${version}"`);
for (const folder of [join(root, "keychain"), ...platforms.map(({ folder }) => folder)]) {
  replace(join(folder, "package.json"), /"version": ".+"/, `"version": "${version}"`);
}
