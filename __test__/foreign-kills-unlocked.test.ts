/** What foreign-kills.test.ts does, with a program that does not exclude us while we refresh. */
import { foreignKills } from "./support/foreign-kills.ts";

foreignKills("codex", true);
