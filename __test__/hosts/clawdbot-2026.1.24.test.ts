import { test } from "node:test";
import { lifeOfALogin } from "./support/life-of-a-login.ts";

test("clawdbot-2026.1.24: the life of a login", { timeout: 600_000 }, (t) => lifeOfALogin(t, "clawdbot-2026.1.24"));
