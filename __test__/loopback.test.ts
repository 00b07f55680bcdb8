/** Machines with one family of addresses, and names that have both. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { AuthConfig } from "../index.js";
import { CertificateAuthority, type ServerCertificate } from "./support/certificate-authority.ts";
import { Child } from "./support/child.ts";
import { PluginProcess } from "./support/plugin-process.ts";
import { PrivateMounts } from "./support/private-mounts.ts";
import { PrivateNetwork } from "./support/private-network.ts";
import { quickDevice } from "./support/provider-stub.ts";
import { HttpProxy } from "./support/proxy.ts";
import { StubServer } from "./support/stub-server.ts";
import { TempHome } from "./support/temp-home.ts";

type Test = Parameters<typeof TempHome.create>[0];

describe("loopback", { concurrency: 6 }, () => {
  for (const [name, listening, host] of [
    ["localhost, on 127.0.0.1 only, where ::1 refuses", "127.0.0.1", "localhost"],
    ["localhost, on ::1 only, where 127.0.0.1 refuses", "::1", "localhost"],
    ["a name below localhost, on ::1 only", "::1", "auth.localhost"],
    ["an IPv4 literal", "127.0.0.1", "127.0.0.1"],
    ["another IPv4 loopback literal", "127.8.9.1", "127.8.9.1"],
    ["an IPv6 literal", "::1", "[::1]"],
  ] as const) {
    for (const scheme of ["http", "https"] as const) {
      test(`${name}, ${scheme}: login, refresh, logout, past any proxy`, { skip: lacking(listening) }, async (t) => {
        const home = TempHome.create(t);
        const authority = await CertificateAuthority.create(home.path);
        const tls = await authority.issue({ names: [host.replace(/[[\]]/g, "")] });
        const stub = await serverOn(t, listening, host, scheme === "https" ? tls : undefined);
        const proxy = await HttpProxy.start(t);
        const env = home.env({
          ALL_PROXY: proxy.url,
          HTTP_PROXY: proxy.url,
          HTTPS_PROXY: proxy.url,
          NODE_EXTRA_CA_CERTS: authority.path,
        });
        await life(await PluginProcess.start(t, { env }), configOf(stub.origin, home));
        assert.equal(proxy.requests.length, 0);
      });
    }
  }

  for (const [name, hosts, listening] of [
    ["IPv6 first, which refuses", "::1 auth.test\n127.0.0.1 auth.test\n", "127.0.0.1"],
    ["IPv4 first, which refuses", "127.0.0.1 auth.test\n::1 auth.test\n", "::1"],
  ] as const) {
    test(`a name of the network in both families, ${name}`, {
      skip: lacking("::1") || PrivateMounts.unavailable(),
    }, async (t) => {
      const home = TempHome.create(t);
      const authority = await CertificateAuthority.create(home.path);
      const stub = await serverOn(t, listening, "auth.test", await authority.issue({ names: ["auth.test"] }));
      const mounts = await PrivateMounts.create(t);
      const file = join(home.path, "hosts");
      writeFileSync(file, hosts);
      mounts.run("mount", "--bind", file, "/etc/hosts");
      const env = home.env({ NODE_EXTRA_CA_CERTS: authority.path });
      await life(await PluginProcess.start(t, { env, launcher: mounts.launcher }), configOf(stub.origin, home));
    });
  }

  for (const [name, remove, listening, refused] of [
    ["without IPv6", "removeIpv6", "127.0.0.1", "[::1]"],
    ["without IPv4", "removeIpv4", "::1", "127.0.0.1"],
  ] as const) {
    test(`a machine ${name}`, { skip: lacking("::1") || PrivateNetwork.unavailable() }, async (t) => {
      const home = TempHome.create(t);
      const network = await PrivateNetwork.create(t);
      network[remove]();
      const launcher = { env: home.env(), launcher: network.launcher };
      // The server lives in there too.
      const server = Child.start(t, "quick-server.mjs", { ...launcher, args: [listening] });
      const { port } = await server.event("listening");
      const plugin = await PluginProcess.start(t, launcher);
      for (const host of ["localhost", listening.includes(":") ? `[${listening}]` : listening]) {
        await life(plugin, configOf(`http://${host}:${port}`, home));
      }
      await assert.rejects(plugin.login(configOf(`http://${refused}:${port}`, home)), {
        code: "NETWORK",
        retryable: true,
      });
    });
  }
});

/** Why nothing can listen there; false where it can. */
function lacking(address: string): string | false {
  const addresses = Object.values(networkInterfaces()).flatMap((all) => all?.map((one) => one.address) ?? []);
  return address !== "::1" || addresses.includes(address) ? false : "this machine has no IPv6";
}

function configOf(issuer: string, home: TempHome): AuthConfig {
  return { pluginId: "memory", issuer, clientId: "c", stateDir: home.stateDir };
}

async function life(plugin: PluginProcess, config: AuthConfig): Promise<void> {
  assert.equal((await plugin.login(config)).state, "valid");
  const rejectedToken = await plugin.accessToken(config);
  await plugin.accessToken(config, { rejectedToken });
  assert.deepEqual(await plugin.call("logout", [config]), { revoked: true, removed: true });
}

/** A server that approves at once. */
async function serverOn(t: Test, address: string, host: string, tls?: ServerCertificate): Promise<StubServer> {
  const stub = await StubServer.start(t, { address, host, ...(tls && { tls }) });
  stub.describe();
  stub.route("/device", quickDevice);
  stub.route("/token", ({ form }) => ({
    status: 200,
    body: {
      access_token: form.get("grant_type") === "refresh_token" ? "RENEWED" : "FIRST",
      refresh_token: "r",
      token_type: "Bearer",
      expires_in: 3600,
    },
  }));
  stub.route("/revoke", { status: 200 });
  return stub;
}
