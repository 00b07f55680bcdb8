/**
 * The plugin that `npx clawdbot-plugin-auth init` writes, in the newest chosen host: it loads, and its users log in.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { startAuthorizationServer } from "../../plugin/testing/index.ts";
import { newPlugin } from "../support/new-plugin.ts";
import { Host, hosts } from "./support/host.ts";
import { PackageRegistry } from "./support/package-registry.ts";
import { pack, packages } from "./support/packages.ts";

// The others know no commands of plugins.
for (const { id } of hosts.filter(({ host }) => host === "openclaw").slice(-1)) {
  test(`${id}: the plugin of init is installed, loads and logs in without an edit`, { timeout: 600_000 }, async (t) => {
    const server = await startAuthorizationServer({ approval: "automatic" });
    const service = createServer(({ headers }, response) => {
      response.writeHead(server.accepts(headers.authorization) ? 200 : 401).end("Earl Grey");
    }).listen(0, "127.0.0.1");
    await once(service, "listening");
    t.after(() => Promise.all([server.close(), service.close()]));
    const registry = await PackageRegistry.start(t);
    const host = await Host.create(t, id, registry.url);
    // Not where the host runs: it takes the name of a folder there for that folder.
    const parent = join(host.home.path, "authors");
    mkdirSync(parent);
    const folder = newPlugin(
      parent,
      "tea-shop",
      "--service",
      `http://127.0.0.1:${(service.address() as AddressInfo).port}`,
    );
    // npm asks the registry about these even where it omits them; that of this test has no compiler.
    const manifest = join(folder, "package.json");
    const { devDependencies: _compiler, ...rest } = JSON.parse(readFileSync(manifest, "utf8"));
    writeFileSync(manifest, JSON.stringify(rest));
    const { library } = await packages(host.home.path);
    for (const archive of [...library, await pack(folder, host.home.path)]) {
      await registry.publish(archive);
    }

    await host.succeed(["plugins", "install", "tea-shop", ...(await host.consent())]);
    const config = { issuer: server.issuer };
    host.configure({ plugins: { allow: ["tea-shop"], entries: { "tea-shop": { enabled: true, config } } } });
    const gateway = await host.startGateway();
    const sentence = "Tea Shop needs a login: run `openclaw tea-shop login` in a terminal, then try again.";
    await gateway.failingTool("tea_shop_search", { query: "tea" }, sentence);
    const { stdout } = await host.succeed(["tea-shop", "login"]);
    assert.match(stdout, /✓ Logged in to Tea Shop/);
    const { status, text } = await gateway.tool("tea_shop_search", { query: "tea" });
    assert.equal(status, 200, text);
    assert.match(text, /Earl Grey/);
    await gateway.stop();
  });
}
