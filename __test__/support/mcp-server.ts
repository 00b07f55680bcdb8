/** A real MCP server with its own authorization server: FastMCP, or the official Python SDK. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import net from "node:net";
import { fileURLToPath } from "node:url";
import { mcpPython } from "../../scripts/mcp-servers.mjs";
import { exchange } from "./exchange.ts";
import type { Lifetime } from "./lifetime.ts";

/** Why tests with these servers are skipped here, if they are. */
export const mcpServersMissing = existsSync(mcpPython) ? false : "FastMCP is not installed in target/tools";

export class McpServer {
  /** The issuer in its metadata. */
  readonly issuer: string;
  readonly origin: string;

  static async start(lifetime: Lifetime, program: "fastmcp" | "sdk"): Promise<McpServer> {
    const port = await freePort();
    const script = fileURLToPath(new URL("../fixtures/mcp-server.py", import.meta.url));
    const child = spawn(mcpPython, [script, program, String(port)], { stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text) => {
      said += text;
    });
    const ended = once(child, "close");
    lifetime.after(async () => {
      child.kill("SIGKILL");
      await ended;
    });
    const origin = `http://127.0.0.1:${port}`;
    for (;;) {
      const answer = await exchange(`${origin}/.well-known/oauth-authorization-server`).catch(() => undefined);
      if (answer?.status === 200) {
        return new McpServer(origin, (JSON.parse(answer.text) as { issuer: string }).issuer);
      }
      if (child.exitCode !== null) {
        throw new Error(`The MCP server ended: ${said}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  private constructor(origin: string, issuer: string) {
    this.origin = origin;
    this.issuer = issuer;
  }

  /** The status of its tool endpoint for that token. */
  async call(token: string): Promise<number> {
    const initialize = {
      jsonrpc: "2.0",
      id: 1,
      method: "initialize",
      params: { protocolVersion: "2025-06-18", capabilities: {}, clientInfo: { name: "test", version: "1" } },
    };
    const { status } = await exchange(`${this.origin}/mcp`, {
      headers: {
        authorization: `Bearer ${token}`,
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
      },
      body: JSON.stringify(initialize),
    });
    return status;
  }
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
