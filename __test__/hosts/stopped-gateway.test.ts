/** A gateway that is stopped in the middle of a refresh keeps the login. */
import { test } from "node:test";
import { hosts, newest } from "./support/host.ts";
import { stoppedGateway } from "./support/stopped-gateway.ts";

// The first that waits for a service that stops, and the newest.
for (const { id } of hosts.filter(({ id, brief }) => ["openclaw-2026.6.11", newest].includes(id) && !brief)) {
  test(`${id}: stopped in the middle of a refresh, it keeps the login`, { timeout: 600_000 }, (t) =>
    stoppedGateway(t, id),
  );
}
