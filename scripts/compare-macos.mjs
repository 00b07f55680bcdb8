// Compares what macOS has built with what Linux links of the same commit: both ask the same of a macOS.
//
//   node scripts/compare-macos.mjs <folder with the binaries of macOS> darwin-arm64 …
//
// After `node scripts/prebuild.mjs darwin-arm64 …`. Two linkers may take different ways to one function, so a name or
// library that only one asks for is shown. Where it loads, and as what, has to be the same; prebuild.mjs has checked
// that each asks for nothing that macOS has not.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { readMachO } from "./mach-o.mjs";
import { keychainBuildOf, platformOf } from "./platforms.mjs";

/** The properties that must be equal. */
function facts({ cpu, minos, name, exported }) {
  const entry = exported.filter((symbol) => symbol.startsWith("_napi_register_module"));
  return { cpu, minos, name, entry: entry.sort().join(", ") };
}

/** @returns {string[]} What differs and must not. */
export function compare(native, linked) {
  const [left, right] = [native, linked].map((path) => readMachO(path));
  const wanted = [left, right].map(({ wanted, libraries }) => [...libraries, ...wanted.keys()].sort());
  const only = (index) => wanted[index].filter((name) => !wanted[1 - index].includes(name)).join(", ") || "none";
  console.log(`  asks for ${wanted[0].length} libraries and names; macOS alone: ${only(0)}; Linux alone: ${only(1)}`);
  const [there, here] = [facts(left), facts(right)];
  return Object.keys(there)
    .filter((fact) => there[fact] !== here[fact])
    .map((fact) => `${fact}: ${there[fact]} on macOS, ${here[fact]} on Linux`);
}

function main() {
  const [folder, ...names] = process.argv.slice(2);
  if (folder === undefined || names.length === 0) throw new Error("Usage: compare-macos.mjs <folder> darwin-arm64 …");
  const natives = readdirSync(folder, { recursive: true });
  for (const platform of names.map(platformOf)) {
    for (const { binary, folder: linked } of [platform, keychainBuildOf(platform)]) {
      const native = natives.find((path) => path.endsWith(binary));
      if (native === undefined) throw new Error(`${folder} has no ${binary}.`);
      console.log(binary);
      const problems = compare(join(folder, native), join(linked, binary));
      if (problems.length > 0) throw new Error(`${binary} differs: ${problems.join("; ")}.`);
    }
  }
}

try {
  main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
