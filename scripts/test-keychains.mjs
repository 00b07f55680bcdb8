// The keychain with real programs that take long to install: KWallet (Debian's) and oo7 (built by cargo).
//
//   node scripts/test-keychains.mjs [options of `node --test`]
import { existsSync } from "node:fs";
import { join } from "node:path";
import { run } from "./command.mjs";
import { root, setUp } from "./setup.mjs";

const version = "0.7.0-beta";
const folder = join(root, "target", "tools", "oo7");

await setUp({ programs: process.platform === "linux" ? { kwalletd5: "libkf5wallet-bin" } : {} });
if (process.platform === "linux" && !existsSync(join(folder, "bin", "oo7-daemon"))) {
  const code = await run("cargo", ["install", "oo7-daemon", "--version", version, "--locked", "--root", folder]);
  if (code !== 0) console.error("oo7-daemon could not be built (why is said above); its tests are skipped.");
}
process.exitCode = await run(process.execPath, [
  join(root, "scripts", "check.mjs"),
  "keychain-real",
  // The kills take minutes.
  "--test-timeout=1500000",
  ...process.argv.slice(2),
]);
