import { test } from "node:test";
import { lifeOfALogin } from "./support/life-of-a-login.ts";

test("openclaw-2026.9.6: the life of a login", (t) => lifeOfALogin(t, "openclaw-2026.9.6"));
