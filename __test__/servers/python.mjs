// FastMCP and the official Python SDK, each with its own authorization server, and FastMCP's OAuth proxy before
// oidc-provider.
import { fileURLToPath } from "node:url";
import { mcpPython } from "../../scripts/mcp-servers.mjs";
import { Person } from "../support/person.ts";
import { oidcServer } from "./oidc.mjs";
import { Browser, freePort, program } from "./parts.mjs";

const script = fileURLToPath(new URL("../fixtures/mcp-server.py", import.meta.url));

export async function pythonServer(t, kind) {
  const port = await freePort();
  const origin = `http://127.0.0.1:${port}`;
  await program(t, mcpPython, [script, kind, String(port)], `${origin}/mcp`);
  return { resource: `${origin}/mcp`, origin, approve: (url) => new Browser().open(url) };
}

export async function fastmcpProxy(t) {
  const port = await freePort();
  const origin = `http://127.0.0.1:${port}`;
  const proxy = {
    client_id: "proxy",
    client_secret: "a secret of the tests",
    redirect_uris: [`${origin}/auth/callback`],
  };
  const upstream = await oidcServer(t, {
    clients: [{ ...proxy, grant_types: ["authorization_code", "refresh_token"] }],
  });
  const env = { ...process.env, UPSTREAM: upstream.origin, FASTMCP_HOME: upstream.folder };
  await program(t, mcpPython, [script, "proxy", String(port)], `${origin}/mcp`, { env });
  return {
    resource: `${origin}/mcp`,
    origin,
    async approve(url) {
      const browser = new Browser();
      const isOn = (next) => next.origin !== upstream.origin;
      // The proxy asks by a form of its own, unless it was allowed before.
      let page = await browser.open(url, { isOn });
      if (page.url.origin === origin) {
        const fields = page.text.matchAll(/<input[^>]*type="hidden"[^>]*name="([^"]*)"[^>]*value="([^"]*)"/g);
        const body = new URLSearchParams([
          ...[...fields].map(([, name, value]) => [name, value]),
          ["action", "approve"],
        ]);
        const headers = { "content-type": "application/x-www-form-urlencoded", origin };
        page = await browser.open(page.url, { method: "POST", body, headers, isOn });
      }
      if (page.url.origin !== upstream.origin) return page;
      return browser.open(await new Person().authorize(page.url));
    },
  };
}
