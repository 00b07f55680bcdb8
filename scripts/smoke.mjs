// Tries the binaries in npm/<platform>/ as installed packages: loaded, a status, logins over http and https.
//
//   node scripts/smoke.mjs                    those that are there and that this machine can run, by itself or emulated
//   node scripts/smoke.mjs linux-x64-gnu …    these
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "./command.mjs";
import { foreignNode } from "./foreign-node.mjs";
import { platformOf, platforms, runningPlatform } from "./platforms.mjs";
import { root } from "./setup.mjs";

/** The oldest and the newest. */
const majors = [18, 26];

/** @param {import("./platforms.mjs").Platform} platform */
async function smoke(platform) {
  const folder = mkdtempSync(join(tmpdir(), "smoke-package-"));
  try {
    const installed = join(folder, "node_modules", platform.package);
    mkdirSync(installed, { recursive: true });
    for (const name of ["index.js", "lib", "package.json"])
      cpSync(join(root, name), join(folder, name), { recursive: true });
    for (const name of [platform.binary, "package.json"]) {
      copyFileSync(join(platform.folder, name), join(installed, name));
    }
    for (const [command, ...args] of await nodes(platform)) {
      const env = { NODE_EXTRA_CA_CERTS: join(root, "__test__", "fixtures", "tls", "authority.pem") };
      const code = await run(command, [...args, join(root, "__test__", "prebuilt", "smoke.cjs"), folder], { env });
      if (code !== 0) throw new Error(`The binary for ${platform.name} does not work (exit code ${code}).`);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function nodes(platform) {
  if (platform === runningPlatform()) return [[process.execPath]];
  if (platform.libc === "musl" || platform.os === "android") return [await foreignNode(platform)];
  const commands = [];
  for (const major of majors) commands.push(await foreignNode(platform, major));
  return commands;
}

/** Linux runs binaries of the same processor, and those of arm64 emulated; for Android as well. */
function runsHere({ name, os, cpu }) {
  if (name === runningPlatform()?.name) return true;
  return (
    process.platform === "linux" && ["linux", "android"].includes(os) && (cpu === "arm64" || process.arch === "x64")
  );
}

try {
  const names = process.argv.slice(2);
  const built = platforms.filter(
    (platform) => existsSync(join(platform.folder, platform.binary)) && runsHere(platform),
  );
  const wanted = names.length > 0 ? names.map(platformOf) : built;
  if (wanted.length === 0) throw new Error("There is no binary in npm/ that runs here: node scripts/prebuild.mjs");
  for (const platform of wanted) await smoke(platform);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
