// The other real engines of the tests of `store`: Debian's Redis, etcd and pgbouncer, the machine's own or unpacked in target/tools.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { once, unpack } from "./debian.mjs";
import { root } from "./setup.mjs";

const unpacked = join(root, "target", "tools", "debian-engines");
const programs = { "redis-server": "usr/bin/redis-server", etcd: "usr/bin/etcd", pgbouncer: "usr/sbin/pgbouncer" };

/** The path of a program, with the libraries that it may need; undefined where there is none. */
export function engine(name) {
  const place = ["/", unpacked].find((one) => existsSync(join(one, programs[name])));
  return place === undefined ? undefined : { program: join(place, programs[name]), libraries: join(place, "usr/lib") };
}

export async function installEngines() {
  if (process.platform !== "linux") return;
  await once(
    "Redis, etcd and pgbouncer",
    () => Object.keys(programs).every((name) => engine(name) !== undefined),
    () => unpack(["redis-server", "etcd-server", "pgbouncer"], unpacked),
  );
}
