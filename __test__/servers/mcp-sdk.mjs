// The example server of @modelcontextprotocol/sdk 1.x, as it is: `--oauth --oauth-strict`.
import { fileURLToPath } from "node:url";
import { Browser, freePort, program } from "./parts.mjs";

export async function mcpSdkExample(t) {
  const [port, auth] = [await freePort(), await freePort()];
  const script = fileURLToPath(
    import.meta.resolve("@modelcontextprotocol/sdk/examples/server/simpleStreamableHttp.js"),
  );
  const env = { ...process.env, MCP_PORT: String(port), MCP_AUTH_PORT: String(auth) };
  const resource = `http://localhost:${port}/mcp`;
  await program(t, process.execPath, [script, "--oauth", "--oauth-strict"], resource, { env });
  return {
    resource,
    approve: (url) => new Browser().open(url),
    tool: ["greet", { name: "Ada" }],
    answer: /Hello, Ada/,
  };
}
