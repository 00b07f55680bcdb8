// The real proxies that tests go through: tinyproxy and squid of Debian, mitmproxy of PyPI. Nothing is installed and no
// service started: they are unpacked in target/tools. Where they cannot be had, the tests that need them say that they
// are skipped.
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { output } from "./command.mjs";
import { pythonTools } from "./prebuild.mjs";
import { root } from "./setup.mjs";

const tools = join(root, "target", "tools");
const unpacked = join(tools, "debian-proxies");
/** The newest for the Python of Debian 12. */
const mitmproxy = ["mitmproxy==11.0.2"];
const mitmdump = join(tools, "mitmproxy-11.0.2", "bin", "mitmdump");

/** Where they are, once unpacked. */
export const proxyPrograms = {
  tinyproxy: join(unpacked, "usr/bin/tinyproxy"),
  squid: join(unpacked, "usr/sbin/squid"),
  mitmdump,
};

/** The folder that squid's own files are looked for in, and the libraries that may not be on this machine. */
export const debianProxies = { folder: unpacked, libraries: join(unpacked, "usr/lib") };

export async function installProxies() {
  if (process.platform !== "linux") return;
  await installed("tinyproxy and squid", proxyPrograms.squid, unpackDebian);
  await installed("mitmproxy (half a minute, once)", mitmdump, () =>
    pythonTools("mitmproxy", mitmproxy, { dependencies: true }),
  );
}

async function installed(what, program, install) {
  if (existsSync(program)) return;
  const started = Date.now();
  process.stdout.write(`Installing ${what} … `);
  try {
    await install();
    process.stdout.write(`done in ${((Date.now() - started) / 1000).toFixed(1)} s\n`);
  } catch (error) {
    const [reason] = String(error.message).split("\n");
    process.stdout.write(`not possible (${reason}); the tests that need it will be skipped\n`);
  }
}

/** These packages and what this machine lacks of what they need. */
async function unpackDebian() {
  const wanted = ["tinyproxy-bin", "squid"];
  const unfinished = `${unpacked}.unfinished`;
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
  renameSync(unfinished, unpacked);
}
