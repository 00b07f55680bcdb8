/** Half a minute without a network while a login polls: it goes on, and ends well. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type AuthStatus, login } from "../../index.js";
import { AuthorizationServer } from "../support/authorization-server.ts";
import { complete, configFor } from "../support/login.ts";
import { mend } from "../support/network-fault.ts";
import { Person } from "../support/person.ts";
import { Wire } from "../support/proxy.ts";
import { TempHome } from "../support/temp-home.ts";

const outage = 30_000;

describe("a login survives 30 s of outage in the middle of polling", { concurrency: true }, () => {
  for (const [name, begin] of [
    ["connections are refused", (wire: Wire) => wire.refuse()],
    ["connections go silent", (wire: Wire) => wire.misbehave({ atRequestByte: 1, ending: "stall" })],
    ["connections are reset", (wire: Wire) => wire.misbehave({ atRequestByte: 1 })],
  ] as const) {
    test(name, async (t) => {
      const server = await AuthorizationServer.start(t);
      const home = TempHome.create(t);
      const wire = await Wire.start(t, server.origin);
      const tokenEndpoint = wire.through(server.endpoints.tokenEndpoint);
      const config = configFor(server, home.stateDir, { tokenEndpoint, requestTimeoutMs: 2000 });
      let began = 0;
      let failures = 0;
      const told: AuthStatus = await login(config, {
        onVerification: async (verification) => {
          // In the middle: the person has not decided at the first poll, and does so during the outage.
          await server.request({ grant: "device_code" }, 1);
          began = Date.now();
          await begin(wire);
          await new Person().approve(complete(verification));
          await new Promise((resolve) => setTimeout(resolve, outage));
          await mend(wire);
        },
        onProgress: ({ type }) => {
          failures += type === "retrying" ? 1 : 0;
        },
      });
      assert.equal(told.state, "valid");
      assert.ok(Date.now() - began >= outage);
      assert.ok(failures >= 2, `${failures} polls failed`);
      const polls = await server.requests({ grant: "device_code" });
      assert.deepEqual(
        polls.map(({ status, early }) => [status, early]),
        [
          [400, false],
          [200, false],
        ],
      );
    });
  }
});
