/**
 * A real Prosody 13 of Debian 13 with the device flow of mod_http_oauth2: it registers clients for any method, and
 * its device endpoint answers every request without Basic with a bare 401. `npm run test:long`.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type AuthConfig, getValidAccessToken, login, logout } from "../../index.js";
import { prosody } from "../../scripts/prosody.mjs";
import { Scope } from "../support/lifetime.ts";
import { complete } from "../support/login.ts";
import { TempHome } from "../support/temp-home.ts";

const skip = process.getuid?.() === 0 ? !existsSync(prosody) && "Prosody could not be unpacked" : "chroot needs root";
const settings = "/etc/prosody/test.cfg.lua";

describe("Prosody 13", { skip }, () => {
  const scope = new Scope();
  let issuer = "";

  before(async () => {
    issuer = `http://localhost:${await freePort()}`;
    rmSync(join(prosody, "var/lib/prosody"), { recursive: true, force: true });
    mkdirSync(join(prosody, "var/lib/prosody"));
    writeFileSync(join(prosody, settings), configuration(issuer), { mode: 0o644 });
    const program = ["chroot", prosody, "/usr/bin/lua5.4"];
    const config = ["--config", settings];
    const [command = "", ...args] = program;
    const made = spawnSync(command, [
      ...args,
      "/usr/bin/prosodyctl",
      ...config,
      "register",
      "ann",
      "localhost",
      "secret",
    ]);
    assert.equal(made.status, 0, `${made.stdout}${made.stderr}`);
    const server = spawn(command, [...args, "/usr/bin/prosody", "-F", ...config]);
    scope.after(() => end(server));
    await says(server, "Serving 'oauth2-discovery'");
  });
  after(() => scope.end());

  const approved = async (config: AuthConfig) =>
    login(config, { onVerification: (verification) => approve(complete(verification)) });

  test("a client for a method of the metadata; login, refresh, logout with revocation", async (t) => {
    const config = { ...client, issuer, stateDir: TempHome.create(t).stateDir };
    assert.equal((await approved(config)).state, "valid");
    assert.ok(methods(config).includes("client_secret_basic"));
    const token = await getValidAccessToken(config);
    assert.notEqual(await getValidAccessToken(config, { rejectedToken: token }), token);
    assert.deepEqual(await logout(config), { revoked: true, removed: true });
  });

  test("nothing known of its methods: the client without a secret is refused, and one with a secret takes its place", async (t) => {
    const config = {
      ...client,
      stateDir: TempHome.create(t).stateDir,
      deviceAuthorizationEndpoint: `${issuer}/oauth2/device`,
      tokenEndpoint: `${issuer}/oauth2/token`,
      registrationEndpoint: `${issuer}/oauth2/register`,
    };
    assert.equal((await approved(config)).state, "valid");
    assert.ok(methods(config).includes("client_secret_basic"));
  });
});

/** Prosody requires a page of the client. */
const client = {
  pluginId: "memory",
  clientName: "My Memory",
  scopes: ["xmpp"],
  clientMetadata: { client_uri: "https://memory.example.org/" },
};

/** The client authentications that it has registered. */
function methods({ stateDir = "" }: AuthConfig): string[] {
  const folder = join(stateDir, "credentials/memory/clients");
  const documents = readdirSync(folder).filter((name) => name.endsWith(".json"));
  return documents.flatMap((name) =>
    JSON.parse(readFileSync(join(folder, name), "utf8")).clients.map(
      ({ authentication }: { authentication: string }) => authentication,
    ),
  );
}

/** Fills in the two forms like a person: sign in, allow. */
async function approve(url: string): Promise<void> {
  const { headers } = await fetch(url, { redirect: "manual" });
  const page = new URL(headers.get("location") ?? "", url);
  // Prosody reads no form with a charset in its type.
  const post = async (fields: Record<string, string>) => {
    const body = new URLSearchParams(fields).toString();
    const type = { "content-type": "application/x-www-form-urlencoded" };
    return (await fetch(page, { method: "POST", headers: type, body })).text();
  };
  const asked = await post({ username: "ann", password: "secret" });
  const [, user_token = ""] = /name="user_token" value="([^"]*)"/.exec(asked) ?? [];
  assert.match(await post({ user_token, scope: "xmpp", consent: "granted" }), /Authorization completed/);
}

const configuration = (issuer: string) => `
run_as_root = true
modules_enabled = { "http", "http_oauth2", "tokenauth" }
modules_disabled = { "c2s", "s2s" }
authentication = "internal_hashed"
http_interfaces = { "127.0.0.1", "::1" }
http_ports = { ${new URL(issuer).port} }
https_ports = {}
http_external_url = "${issuer}/"
http_default_host = "localhost"
oauth2_registration_key = "a key that only this test knows"
log = { { levels = { min = "info" }, to = "console" } }
VirtualHost "localhost"
`;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

async function says(server: ChildProcess, text: string): Promise<void> {
  let said = "";
  await new Promise<void>((resolve, reject) => {
    const hear = (data: Buffer) => {
      said += data;
      if (said.includes(text)) resolve();
    };
    server.stdout?.on("data", hear);
    server.stderr?.on("data", hear);
    server.once("close", () => reject(new Error(`Prosody has ended:\n${said}`)));
  });
}

async function end(server: ChildProcess): Promise<void> {
  if (server.exitCode === null && server.signalCode === null) {
    const closed = once(server, "close");
    server.kill("SIGKILL");
    await closed;
  }
}
