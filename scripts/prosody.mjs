// Prosody 13, an XMPP server with an authorization server in it, of Debian 13: unpacked in target/tools, and run in
// there.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { once, unpackRelease } from "./debian.mjs";
import { root } from "./setup.mjs";

/** The root folder of Prosody; it does not exist where it could not be installed. */
export const prosody = join(root, "target", "tools", "debian-13-prosody");

export async function installProsody() {
  if (process.platform !== "linux" || process.getuid() !== 0) return;
  await once("Prosody", () => existsSync(join(prosody, "dev/urandom")), install);
}

async function install() {
  await unpackRelease("trixie", ["prosody", "prosody-modules"], prosody);
  for (const name of ["bin", "sbin", "lib", "lib64"]) {
    if (!existsSync(join(prosody, name))) symlinkSync(`usr/${name}`, join(prosody, name));
  }
  for (const name of ["dev", "tmp", "run/prosody", "var/lib/prosody"]) {
    mkdirSync(join(prosody, name), { recursive: true });
  }
  for (const [name, minor] of Object.entries({ null: "3", urandom: "9" })) {
    execFileSync("mknod", ["-m", "666", join(prosody, "dev", name), "c", "1", minor]);
  }
}
