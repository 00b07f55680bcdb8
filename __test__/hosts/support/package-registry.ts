/** An npm registry on loopback, which holds what a test publishes, and names another one for the rest, or none. */
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
  readonly #rest: string | undefined;
  readonly #versions = new Map<string, Record<string, unknown>>();

  /** @param rest The URL of the registry that has what is not here. */
  static async start(lifetime: Lifetime, rest?: string): Promise<PackageRegistry> {
    return new PackageRegistry(await StubServer.start(lifetime), rest);
  }

  private constructor(server: StubServer, rest: string | undefined) {
    this.#server = server;
    this.url = `${server.origin}/`;
    this.#rest = rest;
    if (rest !== undefined) {
      server.route("*", ({ path }) =>
        isOfClawHub(path)
          ? { status: 404, body: "" }
          : { status: 302, headers: { location: rest.replace(/\/$/, path) }, body: "" },
      );
    }
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

  /** Packages that were asked for and are nowhere. */
  missing(): string[] {
    if (this.#rest !== undefined) {
      return [];
    }
    const known = new Set([...this.#versions.keys()].map((name) => `/${name}`));
    const isOther = (path: string) => path.includes("/-/") || isOfClawHub(path);
    return this.#server.requests.map(({ path }) => path).filter((path) => !known.has(path) && !isOther(path));
  }
}

/** The answer is that it has nothing. */
function isOfClawHub(path: string): boolean {
  return path.startsWith("/api/v1/") || path.startsWith("/clawhub");
}
