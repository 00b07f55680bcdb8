/** An npm registry on loopback, which holds what a test publishes and nothing else. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { promisify } from "node:util";
import type { Lifetime } from "../../support/lifetime.ts";
import { StubServer } from "../../support/stub-server.ts";

interface Manifest {
  name: string;
  version: string;
  [member: string]: unknown;
}

export class PackageRegistry {
  readonly url: string;
  readonly #server: StubServer;
  readonly #versions = new Map<string, Record<string, unknown>>();

  static async start(lifetime: Lifetime): Promise<PackageRegistry> {
    return new PackageRegistry(await StubServer.start(lifetime));
  }

  private constructor(server: StubServer) {
    this.#server = server;
    this.url = `${server.origin}/`;
  }

  /** Publishes an archive of `npm pack`; it becomes the latest version of its package. */
  async publish(archive: string): Promise<Manifest> {
    const { stdout } = await promisify(execFile)("tar", ["-xzOf", archive, "package/package.json"]);
    const manifest = JSON.parse(stdout) as Manifest;
    const { name, version } = manifest;
    const bytes = readFileSync(archive);
    const path = `/${name}/-/${basename(archive)}`;
    this.#server.route(path, {
      status: 200,
      headers: { "content-type": "application/octet-stream" },
      body: bytes,
    });
    const versions = this.#versions.get(name) ?? {};
    versions[version] = {
      ...manifest,
      dist: {
        tarball: `${this.#server.origin}${path}`,
        shasum: createHash("sha1").update(bytes).digest("hex"),
        integrity: `sha512-${createHash("sha512").update(bytes).digest("base64")}`,
      },
    };
    this.#versions.set(name, versions);
    this.#server.route(`/${name}`, {
      status: 200,
      headers: { "content-type": "application/json" },
      body: { name, "dist-tags": { latest: version }, versions, time: {} },
    });
    return manifest;
  }

  /** Packages that were asked for and are not here. */
  missing(): string[] {
    const known = new Set([...this.#versions.keys()].map((name) => `/${name}`));
    // Requests to ClawHub: the answer is that it has nothing.
    const isOther = (path: string) =>
      path.includes("/-/") || path.startsWith("/api/v1/") || path.startsWith("/clawhub");
    return this.#server.requests.map(({ path }) => path).filter((path) => !known.has(path) && !isOther(path));
  }
}
