/** The tests of foreign-files.test.ts for the other programs of the table. */
import { foreignFiles } from "./support/foreign-files.ts";

for (const format of ["pi", "kimi-code", "mcp-remote", "gemini-cli"] as const) {
  foreignFiles(format, false);
}
