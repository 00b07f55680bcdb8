// The parts that the servers of this folder share: a port, a server that ends with the test, a browser that keeps
// cookies, and the MCP server of the 2.x packages, which accepts the tokens that a test names.
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import {
  getOAuthProtectedResourceMetadataUrl,
  mcpAuthMetadataRouter,
  requireBearerAuth,
} from "@modelcontextprotocol/express";
import { NodeStreamableHTTPServerTransport } from "@modelcontextprotocol/node";
import { McpServer } from "@modelcontextprotocol/server";
import express from "express";
import { DpopProofs } from "../support/dpop-proof.ts";

export async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** Listens until the end of the test; resolves to the origin. */
export async function listen(t, handler, { host = "127.0.0.1", port = 0 } = {}) {
  const server = http.createServer(handler).listen(port, "127.0.0.1");
  // Longer than any client keeps a connection, of which it would send a request into the end.
  server.keepAliveTimeout = 600_000;
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://${host}:${server.address().port}`;
}

/** A process until the end of the test, once it answers at that URL. */
export async function program(t, command, args, url, options = {}) {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], ...options });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => {
      said += text;
    });
  }
  const ended = once(child, "close");
  t.after(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  while (
    !(await fetch(url).then(
      () => true,
      () => false,
    ))
  ) {
    if (child.exitCode !== null) throw new Error(`${command} ended:\n${said}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return () => said;
}

/** A browser: keeps cookies, follows redirects as long as `isOn` says of the next URL. */
export class Browser {
  #cookies = new Map();

  async open(url, { method = "GET", headers = {}, body, isOn = () => true } = {}) {
    const target = new URL(url);
    const kept = this.#cookies.get(target.host) ?? new Map();
    const cookie = [...kept].map(([name, value]) => `${name}=${value}`).join("; ");
    const answer = await fetch(target, {
      method,
      body,
      redirect: "manual",
      headers: { ...headers, ...(cookie && { cookie }) },
    });
    for (const line of answer.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      kept.set(name, value);
    }
    this.#cookies.set(target.host, kept);
    const location = answer.headers.get("location");
    if (answer.status >= 300 && answer.status < 400 && location) {
      const next = new URL(location, target);
      return isOn(next) ? this.open(next, { isOn }) : { url: next, status: answer.status, text: "" };
    }
    return { url: target, status: answer.status, text: await answer.text() };
  }
}

/**
 * Express with an MCP server at /mcp whose tool `write` needs `write`. With `hold`, it keeps sessions, and has a tool
 * that answers only when `hold()` resolves. With `isBound(token, thumbprint)`, it accepts only tokens that are bound
 * to the key of a proof; the packages leave that to their users: RFC 9449 section 7.
 */
export function mcpApp({ resource, oauthMetadata, verify, scopes = [], hold, isBound }) {
  const app = express();
  const sessions = new Map();
  const url = new URL(resource);
  app.use(mcpAuthMetadataRouter({ oauthMetadata, resourceServerUrl: url, scopesSupported: [...scopes, "write"] }));
  const resourceMetadataUrl = getOAuthProtectedResourceMetadataUrl(url);
  const guard = requireBearerAuth({
    verifier: { verifyAccessToken: verify },
    requiredScopes: scopes,
    resourceMetadataUrl,
  });
  const scheme = isBound === undefined ? "Bearer" : "DPoP";
  const challenge = (error, scope) =>
    `${scheme} error="${error}", scope="${scope}", resource_metadata="${resourceMetadataUrl}"`;
  const proofs = new DpopProofs();
  const binding = async (request, response, next) => {
    try {
      const { headers, method } = request;
      const { token, thumbprint } = await proofs.verify({ headers, method, url: resource });
      if (!(await isBound(token, thumbprint))) throw new Error("invalid_token: none of this key");
      request.headers.authorization = `Bearer ${token}`;
      next();
    } catch (error) {
      const [code] = error.message.split(":");
      response
        .status(401)
        .set("www-authenticate", challenge(code, scopes.join(" ")))
        .end();
    }
  };
  const guards = isBound === undefined ? [guard] : [binding, guard];
  app.all("/mcp", ...guards, express.json(), async (request, response) => {
    if (request.body?.params?.name === "write" && !request.auth.scopes.includes("write")) {
      response
        .status(403)
        .set("www-authenticate", challenge("insufficient_scope", "write"))
        .json({ error: "insufficient_scope" });
      return;
    }
    const known = sessions.get(request.headers["mcp-session-id"]);
    if (known !== undefined) {
      await known.handleRequest(request, response, request.body);
      return;
    }
    const server = new McpServer({ name: "lab", version: "1" });
    const tool = (name, wait) =>
      server.registerTool(name, { description: name }, async () => {
        await wait?.();
        return { content: [{ type: "text", text: "green" }] };
      });
    tool("tea");
    tool("write");
    if (hold !== undefined) tool("hold", hold);
    const transport = new NodeStreamableHTTPServerTransport({
      sessionIdGenerator: hold && randomUUID,
      onsessioninitialized: (id) => void sessions.set(id, transport),
    });
    if (hold === undefined) response.on("close", () => server.close());
    await server.connect(transport);
    await transport.handleRequest(request, response, request.body);
  });
  return app;
}
