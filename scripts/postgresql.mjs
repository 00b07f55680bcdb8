// The real database of the tests of `store`: Debian's PostgreSQL, the machine's own or unpacked in target/tools.
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { once, unpack } from "./debian.mjs";
import { root } from "./setup.mjs";

const unpacked = join(root, "target", "tools", "debian-postgresql");

/** The paths of its programs and libraries; undefined where there are none. */
export function postgresql() {
  for (const place of ["/", unpacked]) {
    const versions = join(place, "usr/lib/postgresql");
    const [newest] = existsSync(versions) ? readdirSync(versions).sort().reverse() : [];
    const programs = join(versions, newest ?? "", "bin");
    if (existsSync(join(programs, "initdb"))) return { programs, libraries: join(place, "usr/lib") };
  }
  return undefined;
}

export async function installPostgresql() {
  if (process.platform !== "linux") return;
  await once(
    "PostgreSQL",
    () => postgresql() !== undefined,
    () => unpack(["postgresql-15"], unpacked),
  );
}
