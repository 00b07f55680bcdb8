import { test } from "node:test";
import { lifeOfALogin } from "./support/life-of-a-login.ts";
import { sharedProfiles } from "./support/shared-profiles.ts";

test("clawdbot-2026.1.24: the life of a login", { timeout: 600_000 }, (t) => lifeOfALogin(t, "clawdbot-2026.1.24"));

test("clawdbot-2026.1.24: host and plugin share auth-profiles.json", { timeout: 600_000 }, (t) =>
  sharedProfiles(t, "clawdbot-2026.1.24"),
);
