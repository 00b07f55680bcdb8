import { test } from "node:test";
import { stoppedGateway } from "./support/stopped-gateway.ts";

test("openclaw-2026.6.11: stopped in the middle of a refresh, it keeps the login", { timeout: 600_000 }, (t) =>
  stoppedGateway(t, "openclaw-2026.6.11"),
);
