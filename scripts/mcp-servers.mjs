// The real MCP servers that tests log in at: FastMCP and the official SDK, of PyPI, in target/tools. Where they cannot
// be had, the tests that need them say that they are skipped.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { once } from "./debian.mjs";
import { pythonTools } from "./prebuild.mjs";
import { root } from "./setup.mjs";

const packages = ["fastmcp==4.2.3", "mcp==2.3.0"];

/** A Python that has both, once they are installed. */
export const mcpPython = join(root, "target", "tools", "mcp-servers-4.2.3-2.3.0", "bin", "python");

export async function installMcpServers() {
  await once(
    "FastMCP and the Python SDK of MCP (two minutes, once)",
    () => existsSync(join(mcpPython, "..", "..", "installed")),
    () => pythonTools("mcp-servers", packages, { dependencies: true }),
  );
}
