/** Logins at MCP servers as they are: they compare redirect URIs as text, and know a registered client alone. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { getValidAccessToken } from "../index.js";
import { begin } from "./support/browser-login.ts";
import { exchange } from "./support/exchange.ts";
import { expireLogin } from "./support/login.ts";
import { McpServer, mcpServersMissing } from "./support/mcp-server.ts";
import { TempHome } from "./support/temp-home.ts";

describe("real MCP servers of Python", { skip: mcpServersMissing, concurrency: 2 }, () => {
  for (const program of ["fastmcp", "sdk"] as const) {
    test(`${program}: registered with the port, logged in twice by one client, refreshed, and let in`, async (t) => {
      const server = await McpServer.start(t, program);
      const { stateDir } = TempHome.create(t);
      const config = { pluginId: "tea", issuer: server.issuer, flow: "authorization_code" as const, stateDir };
      const used = new Set<string>();
      for (let turn = 0; turn < 2; turn += 1) {
        const begun = await begin(config);
        used.add(`${new URL(begun.url).searchParams.get("client_id")} ${begun.redirectUri}`);
        // The server approves by itself; only this page shows its objections.
        const page = await exchange(begun.url);
        assert.equal(page.status, 302, page.text);
        assert.equal((await exchange(String(page.headers.location))).status, 200);
        assert.equal((await begun.outcome).state, "valid");
      }
      assert.equal(used.size, 1, [...used].join());
      const first = await getValidAccessToken(config);
      assert.equal(await server.call(first), 200);
      await expireLogin(config);
      const second = await getValidAccessToken(config);
      assert.notEqual(second, first);
      assert.equal(await server.call(second), 200);
      assert.equal(await server.call("no token"), 401);
    });
  }
});
