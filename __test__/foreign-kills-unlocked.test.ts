/** The tests of foreign-kills.test.ts, with a program that ignores locks while it refreshes. */
import { foreignKills } from "./support/foreign-kills.ts";

foreignKills("codex", true);
