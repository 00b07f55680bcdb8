// A real MCP server with one tool, which answers each request by itself.
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";

export async function mcpAnswer(request, response, body) {
  const server = new McpServer({ name: "lab", version: "1" });
  server.registerTool("who", { description: "who" }, () => ({ content: [{ type: "text", text: "ada" }] }));
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined, enableJsonResponse: true });
  response.on("close", () => server.close());
  await server.connect(transport);
  await transport.handleRequest(request, response, body === "" ? undefined : JSON.parse(body));
}
