// The other real engines of the tests of `store`: Debian's Redis, etcd and pgbouncer, the machine's own or unpacked in
// target/tools; and Valkey, of Debian 13.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { once, unpack, unpackRelease } from "./debian.mjs";
import { root } from "./setup.mjs";

const tools = join(root, "target", "tools");
const unpacked = join(tools, "debian-engines");
const unpackedValkey = join(tools, "debian-13-valkey");
const programs = { "redis-server": "usr/bin/redis-server", etcd: "usr/bin/etcd", pgbouncer: "usr/sbin/pgbouncer" };
const machine = process.arch === "arm64" ? "aarch64" : "x86_64";
const triplet = `${machine}-linux-gnu`;

/** How a program is started, and the libraries that it needs; undefined where there is none. */
export function engine(name) {
  if (name === "valkey-server") return valkey();
  const place = ["/", unpacked].find((one) => existsSync(join(one, programs[name])));
  if (place === undefined) return undefined;
  const libraries = join(place, "usr/lib");
  return { command: [join(place, programs[name])], libraries: `${join(libraries, triplet)}:${libraries}` };
}

/** With the C library of its own release. */
function valkey() {
  const own = "/usr/bin/valkey-server";
  if (existsSync(own)) return { command: [own], libraries: "" };
  const libraries = join(unpackedValkey, "usr/lib", triplet);
  const loader = machine === "aarch64" ? "ld-linux-aarch64.so.1" : "ld-linux-x86-64.so.2";
  const program = join(unpackedValkey, own);
  if (!existsSync(program)) return undefined;
  return { command: [join(libraries, loader), "--library-path", libraries, program], libraries: "" };
}

export async function installEngines() {
  if (process.platform !== "linux") return;
  await once(
    "Redis, etcd and pgbouncer",
    () => Object.keys(programs).every((name) => engine(name) !== undefined),
    () => unpack(["redis-server", "etcd-server", "pgbouncer"], unpacked),
  );
}

export async function installValkey() {
  if (process.platform !== "linux") return;
  await once(
    "Valkey",
    () => engine("valkey-server") !== undefined,
    () => unpackRelease("trixie", ["valkey-server"], unpackedValkey),
  );
}
