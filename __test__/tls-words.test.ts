/** Failures of TLS, in words: certificates as openssl makes them, and servers as operators set them up. */
import assert from "node:assert/strict";
import { execFile, execFileSync, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Lifetime } from "./support/lifetime.ts";
import { TempHome } from "./support/temp-home.ts";

const missing = spawnSync("openssl", ["version"]).error === undefined ? false : "openssl is not installed";

/** Names that only a reader of the source knows, and addresses of other projects' documentation. */
const foreign = /\w\([A-Z][a-z]+[A-Z]|Error\b|CaUsed|Context|docs\.rs|fatal alert|invalid extensions/;

class Workshop {
  readonly folder: string;

  constructor(t: Lifetime) {
    this.folder = TempHome.create(t).path;
  }

  openssl(...args: string[]): void {
    execFileSync("openssl", args, { cwd: this.folder, stdio: "ignore" });
  }

  file(name: string): string {
    return join(this.folder, name);
  }

  /** An authority, as `openssl req -x509` makes one. */
  authority(name: string, subject = "/CN=Company CA"): this {
    this.openssl(
      ...["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", subject],
      ...["-keyout", `${name}.key`, "-out", `${name}.pem`],
    );
    return this;
  }

  /** A certificate for a server, signed by that authority. */
  issue(
    name: string,
    authority: string,
    extensions: string,
    { key = "rsa:2048", flags = [] as string[], subject = "/CN=localhost" } = {},
  ): this {
    writeFileSync(this.file(`${name}.ext`), extensions);
    this.openssl("req", "-newkey", key, "-nodes", "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", subject);
    this.openssl(
      ...[
        "x509",
        "-req",
        "-in",
        `${name}.csr`,
        "-CA",
        `${authority}.pem`,
        "-CAkey",
        `${authority}.key`,
        "-CAcreateserial",
      ],
      ...["-days", "30", "-out", `${name}.pem`, "-extfile", `${name}.ext`, ...flags],
    );
    return this;
  }
}

const good = "basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost\n";

interface Case {
  name: string;
  make(shop: Workshop): unknown;
  /** The certificates that the server presents, without ending. @default "server" */
  presents?: string;
  /** @default "ca" */
  trusts?: string;
  server?: https.ServerOptions;
  says: RegExp;
  never?: RegExp;
  retryable?: boolean;
}

const advice = /name the authority's PEM file in NODE_EXTRA_CA_CERTS/;

const cases: Case[] = [
  {
    name: "a self-signed certificate that is an authority's",
    make: (shop) =>
      shop.openssl(
        ...["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=localhost"],
        ...["-keyout", "server.key", "-out", "server.pem", "-addext", "subjectAltName=DNS:localhost"],
      ),
    trusts: "server",
    says: /it is an authority's own \(CA:TRUE\), which may not stand for a server\. .*CA:FALSE/,
    never: advice,
  },
  {
    name: "a name in CN alone",
    make: (shop) => shop.authority("ca").issue("server", "ca", "basicConstraints=CA:FALSE\n"),
    says: /it names its host in CN alone.*subjectAltName/,
    never: /another host name/,
  },
  {
    name: "another name",
    make: (shop) =>
      shop.authority("ca").issue("server", "ca", "basicConstraints=CA:FALSE\nsubjectAltName=DNS:other.example\n"),
    says: /it was made for another host name\. Check the host/,
    never: advice,
  },
  {
    name: "a certificate for clients",
    make: (shop) => shop.authority("ca").issue("server", "ca", `${good}extendedKeyUsage=clientAuth\n`),
    says: /it was not issued for a server \(extendedKeyUsage has no serverAuth\)/,
    never: advice,
  },
  {
    name: "a signature by SHA-1",
    make: (shop) => shop.authority("ca").issue("server", "ca", good, { flags: ["-sha1"] }),
    server: { ciphers: "DEFAULT@SECLEVEL=0" },
    says: /it is signed by a method that is not accepted, such as SHA-1/,
    never: advice,
  },
  {
    name: "a key of 1024 bits",
    make: (shop) => shop.authority("ca").issue("server", "ca", good, { key: "rsa:1024" }),
    server: { ciphers: "DEFAULT@SECLEVEL=0" },
    says: /its signature does not fit: .*a key is too short \(RSA takes 2048 bits\)/,
  },
  {
    name: "an authority that was made again under the same name",
    make: (shop) => shop.authority("old").authority("ca").issue("server", "ca", good),
    trusts: "old",
    says: /its signature does not fit: the trusted authority of that name has another key.*name its new PEM file|its issuer is unknown\. The authority that signed it is not among those that NODE_EXTRA_CA_CERTS names/,
  },
  {
    name: "an authority that is not among those that are named",
    make: (shop) => shop.authority("other", "/CN=Another CA").authority("ca").issue("server", "ca", good),
    trusts: "other",
    says: /its issuer is unknown\. The authority that signed it is not among those that NODE_EXTRA_CA_CERTS names/,
    never: advice,
  },
  {
    name: "an authority in between that was not allowed to be one",
    make: (shop) => {
      shop.authority("ca").issue("between", "ca", good, { subject: "/CN=Between" }).issue("server", "between", good);
      execFileSync("sh", ["-c", "cat server.pem between.pem > chain.pem"], { cwd: shop.folder });
      execFileSync("cp", ["server.key", "chain.key"], { cwd: shop.folder });
    },
    presents: "chain",
    says: /one of the authorities between it and the trusted one was not allowed to sign it/,
    never: advice,
  },
  {
    name: "a server without forward secrecy",
    make: (shop) => shop.authority("ca").issue("server", "ca", good),
    server: { ciphers: "AES128-GCM-SHA256", maxVersion: "TLSv1.2" },
    says: /could not be reached by TLS: the server accepts no TLS version and cipher that this program has.*ECDHE and AES-GCM/,
  },
  {
    name: "a server that knows TLS 1.1 alone",
    make: (shop) => shop.authority("ca").issue("server", "ca", good),
    server: { minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" },
    says: /could not be reached by TLS: the server accepts no TLS version and cipher/,
  },
  {
    name: "a server that wants a client certificate, by TLS 1.2",
    make: (shop) => shop.authority("ca").issue("server", "ca", good),
    server: { requestCert: true, rejectUnauthorized: true, maxVersion: "TLSv1.2" },
    says: /client certificate/,
    retryable: false,
  },
  {
    name: "a server that wants a client certificate, by TLS 1.3, which says so after the request was sent",
    make: (shop) => shop.authority("ca").issue("server", "ca", good),
    server: { requestCert: true, rejectUnauthorized: true, minVersion: "TLSv1.3" },
    says: /could not be reached by TLS: the server wants a client certificate, which this program does not have/,
  },
  {
    name: "a server that speaks HTTP/2 alone",
    make: (shop) => shop.authority("ca").issue("server", "ca", good),
    server: { ALPNProtocols: ["h2"] },
    says: /does not speak HTTP\/1\.1|connection (closed|reset)/,
  },
];

describe("failures of TLS are said in words", { skip: missing, concurrency: 4 }, () => {
  for (const { name, make, presents = "server", trusts = "ca", server = {}, says, never, retryable = false } of cases) {
    test(name, async (t) => {
      const shop = new Workshop(t);
      make(shop);
      const read = (file: string) => execFileSync("cat", [file], { cwd: shop.folder });
      const listener = https.createServer({ cert: read(`${presents}.pem`), key: read(`${presents}.key`), ...server });
      listener.on("request", (request, response) => request.resume().on("end", () => response.end("{}")));
      await new Promise<void>((resolve) => void listener.listen(0, "127.0.0.1", resolve));
      t.after(() => {
        listener.close();
        listener.closeAllConnections();
      });
      const { port } = listener.address() as AddressInfo;
      const config = {
        pluginId: "p",
        stateDir: shop.file("state"),
        tokenEndpoint: `https://localhost:${port}/token`,
        clientId: "c",
      };
      const program = `const { refreshTokens } = require(${JSON.stringify(fileURLToPath(new URL("..", import.meta.url)))});
        const { stateDir, pluginId, ...config } = ${JSON.stringify(config)};
        refreshTokens({ pluginId, ...config }, "r").catch(({ code, retryable, message }) => console.log(JSON.stringify({ code, retryable, message })));`;
      const env = { ...process.env, NODE_EXTRA_CA_CERTS: shop.file(`${trusts}.pem`) };
      const { stdout } = await promisify(execFile)(process.execPath, ["-e", program], { env });
      const error = JSON.parse(stdout) as { code: string; retryable: boolean; message: string };
      assert.match(error.message, says);
      assert.equal(error.code, "NETWORK");
      assert.doesNotMatch(error.message, foreign);
      if (never !== undefined) assert.doesNotMatch(error.message, never);
      if (retryable !== undefined) assert.equal(error.retryable, retryable, error.message);
    });
  }
});
