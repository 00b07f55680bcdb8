import { test } from "node:test";
import { lifeOfALogin } from "./support/life-of-a-login.ts";

test("openclaw-2026.1.29: the life of a login", { timeout: 600_000 }, (t) => lifeOfALogin(t, "openclaw-2026.1.29"));
