/** A gateway that is stopped in the middle of a refresh keeps the login. */
import { test } from "node:test";
import { hosts } from "./support/host.ts";
import { stoppedGateway } from "./support/stopped-gateway.ts";

for (const { id } of hosts.filter(({ awaitsStop, brief }) => awaitsStop && !brief)) {
  test(`${id}: stopped in the middle of a refresh, it keeps the login`, { timeout: 600_000 }, (t) =>
    stoppedGateway(t, id),
  );
}
