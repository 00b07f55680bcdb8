/** `npm run test:hosts -- <name>`: the rows of the table that a name means, and any version beyond them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { hosts, named } from "../scripts/hosts.mjs";

const ids = (name: string) => named(name).map(({ id }) => id);

test("a part of a name means all rows that have it, and a whole version that version alone", () => {
  const openclaw = hosts.filter(({ host }) => host === "openclaw");
  assert.deepEqual(
    ids("openclaw-2026"),
    openclaw.map(({ id }) => id),
  );
  for (const { id, host, version } of hosts) {
    for (const name of [id, version, `${host}-${version}`, `${host}@${version}`]) {
      assert.deepEqual(ids(name), [id], name);
    }
  }
});

test("a version that is no row has the features of the last row before it, and asks for the rest", () => {
  const [row] = named("2026.8.99");
  const before = hosts.find(({ version }) => version === "2026.8.2");
  assert.deepEqual(
    { id: row?.id, version: row?.version, awaitsStop: row?.awaitsStop, consent: row?.consent },
    { id: "openclaw-2026.8.99", version: "2026.8.99", awaitsStop: before?.awaitsStop, consent: undefined },
  );
  assert.equal(named("2026.9.1-beta.1")[0]?.ownLogin, undefined);
  assert.match(named("clawdbot@2026.1.25")[0]?.folder ?? "", /clawdbot-2026\.1\.25$/);
  assert.throws(() => named("nobot-2026.1.1"), /No host has nobot-2026\.1\.1 in its name: clawdbot-/);
  assert.throws(() => named("2027"), /or a version that npm has/);
});
