// The real proxies that tests go through: tinyproxy and squid of Debian, mitmproxy of PyPI. Nothing is installed and no
// service started: they are unpacked in target/tools. Where they cannot be had, the tests that need them say that they
// are skipped.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { once, unpack } from "./debian.mjs";
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
  await once(
    "tinyproxy and squid",
    () => existsSync(proxyPrograms.squid),
    () => unpack(["tinyproxy-bin", "squid"], unpacked),
  );
  await once(
    "mitmproxy (half a minute, once)",
    () => existsSync(mitmdump),
    () => pythonTools("mitmproxy", mitmproxy, { dependencies: true }),
  );
}
