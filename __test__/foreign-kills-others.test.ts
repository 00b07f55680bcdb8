/** The steps of foreign-kills.test.ts at which the table of programs decides what happens, for the other programs. */
import { formats } from "./support/foreign-file.ts";
import { foreignKills } from "./support/foreign-kills.ts";

for (const format of formats.filter((format) => format !== "auth-profiles" && format !== "codex")) {
  foreignKills(format, false);
}
