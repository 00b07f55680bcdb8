// A folder with credentials as on a user's disk, and an environment with nothing else in it.
import { chmodSync, mkdirSync, mkdtempSync, realpathSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** A file of the build that is measured: of this checkout, or of another. */
export function load(path) {
  const build = process.env.BENCHMARKED ?? fileURLToPath(new URL("..", import.meta.url));
  return createRequire(join(build, "package.json"))(`./${path}`);
}

export const fixtures = fileURLToPath(new URL("../__test__/fixtures/tls", import.meta.url));

export class Scratch {
  constructor() {
    this.path = realpathSync(mkdtempSync(join(tmpdir(), "plugin-auth-bench-")));
  }

  config(profile = "default", { issuer = "https://auth.example.com" } = {}) {
    return {
      pluginId: "bench",
      profile,
      issuer,
      tokenEndpoint: `${issuer}/token`,
      clientId: "client",
      stateDir: this.path,
    };
  }

  file(profile = "default") {
    return join(this.path, "credentials", "bench", `${profile}.json`);
  }

  /** As the addon stores it. A JWT access token has about 800 characters. */
  store(profile = "default", { issuer = "https://auth.example.com", size = 800, life = 3_600_000, more = {} } = {}) {
    const now = Date.now();
    const members = {
      version: 1,
      access: "a".repeat(size),
      refresh: "r".repeat(60),
      expires: now + life,
      createdAt: now,
      refreshedAt: now + Math.min(life, 0) - 1000,
      tokenType: "Bearer",
      scopes: ["memory", "offline_access"],
      issuer,
      tokenEndpoint: `${issuer}/token`,
      clientId: "client",
      ...more,
    };
    return this.write(profile, members);
  }

  /** Writes the file that a logout leaves. */
  logOut(profile) {
    return this.write(profile, { version: 1, loggedOutAt: Date.now() });
  }

  write(profile, members) {
    const file = this.file(profile);
    mkdirSync(join(file, ".."), { recursive: true });
    chmodSync(join(file, ".."), 0o700);
    writeFileSync(`${file}.new`, JSON.stringify(members), { mode: 0o600 });
    renameSync(`${file}.new`, file);
    return file;
  }

  env(more = {}) {
    const { PATH = "" } = process.env;
    return { PATH, HOME: this.path, TMPDIR: this.path, NODE_EXTRA_CA_CERTS: join(fixtures, "authority.pem"), ...more };
  }

  remove() {
    rmSync(this.path, { recursive: true, force: true, maxRetries: 5 });
  }
}
