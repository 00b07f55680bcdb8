// Packages of Debian, unpacked in target/tools: nothing is installed and no service started.
import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { output } from "./command.mjs";

/** Puts these packages, and what this machine lacks of what they need, into a folder. */
export async function unpack(wanted, folder) {
  const unfinished = `${folder}.unfinished`;
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished, { recursive: true });
  const download = async () => {
    const plan = await output("apt-get", ["--simulate", "install", "--no-install-recommends", ...wanted]);
    const missing = [...plan.matchAll(/^Inst (\S+)/gm)].map(([, name]) => name);
    const names = [...new Set([...wanted, ...missing])];
    await output("apt-get", ["-o", "APT::Sandbox::User=root", "download", ...names], { cwd: unfinished });
  };
  // A machine that has just been made knows no packages yet.
  await download().catch(async () => {
    await output("apt-get", ["update"]);
    await download();
  });
  for (const name of readdirSync(unfinished).filter((file) => file.endsWith(".deb"))) {
    await output("dpkg", ["--extract", join(unfinished, name), unfinished]);
    rmSync(join(unfinished, name));
  }
  renameSync(unfinished, folder);
}

/**
 * Puts these packages of another release of Debian, with all that they need, into a folder that `chroot` can enter.
 * They come from where this machine's own come from.
 */
export async function unpackRelease(release, wanted, folder) {
  const unfinished = `${folder}.unfinished`;
  const apt = join(unfinished, "apt");
  rmSync(unfinished, { recursive: true, force: true });
  for (const below of ["etc/preferences.d", "etc/apt.conf.d", "state/lists/partial", "cache/archives/partial"]) {
    mkdirSync(join(apt, below), { recursive: true });
  }
  const targets = await output("apt-get", ["indextargets", "--format", "$(SITE)", "Created-By: Packages"]);
  const [site] = targets.split("\n");
  const keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
  writeFileSync(join(apt, "etc/sources.list"), `deb [signed-by=${keys}] ${site} ${release} main\n`);
  writeFileSync(join(apt, "state/status"), "");
  const dirs = { Etc: "etc", State: "state", "State::status": "state/status", Cache: "cache" };
  const options = [
    ...Object.entries(dirs).map(([name, path]) => `Dir::${name}=${join(apt, path)}`),
    "APT::Sandbox::User=root",
    "APT::Install-Recommends=false",
    "Acquire::Languages=none",
  ].flatMap((option) => ["-o", option]);
  await output("apt-get", [...options, "update"]);
  const plan = await output("apt-get", [...options, "--simulate", "install", ...wanted]);
  const names = [...plan.matchAll(/^Inst (\S+)/gm)].map(([, name]) => name);
  await output("apt-get", [...options, "download", ...names], { cwd: apt });
  for (const name of readdirSync(apt).filter((file) => file.endsWith(".deb"))) {
    await output("dpkg", ["--extract", join(apt, name), unfinished]);
  }
  rmSync(apt, { recursive: true });
  renameSync(unfinished, folder);
}

/** Installs once; where that cannot be done, the tests that need it say that they are skipped. */
export async function once(what, isThere, install) {
  if (isThere()) return;
  const started = Date.now();
  console.log(`Installing ${what} …`);
  try {
    await install();
    console.log(`Installed ${what} in ${((Date.now() - started) / 1000).toFixed(1)} s`);
  } catch (error) {
    const [reason] = String(error.message).split("\n");
    console.log(`${what} cannot be installed (${reason}); the tests that need it will be skipped`);
  }
}
