/**
 * Without `stateDir`, the login is where the host that runs the plugin keeps its state, even if other variables
 * differ.
 */
import assert from "node:assert/strict";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Child } from "./support/child.ts";
import type { Lifetime } from "./support/lifetime.ts";
import { TempHome } from "./support/temp-home.ts";

const library = fileURLToPath(new URL("../index.js", import.meta.url));

/** The rows of docs/hosts.md 5; the folders of all of them exist. */
const cases: [host: string, version: string, variables: string[], folder: string][] = [
  ["clawdbot", "2026.1.24-3", ["OPENCLAW_STATE_DIR"], ".clawdbot"],
  ["clawdbot", "2026.1.24-3", ["OPENCLAW_STATE_DIR", "CLAWDBOT_STATE_DIR"], "of-CLAWDBOT_STATE_DIR"],
  ["openclaw-cn", "2026.1.31", ["CLAWDBOT_STATE_DIR"], ".openclaw"],
  ["openclaw", "2026.1.29", ["CLAWDBOT_STATE_DIR"], "of-CLAWDBOT_STATE_DIR"],
  ["openclaw", "2026.3.13", ["CLAWDBOT_STATE_DIR"], "of-CLAWDBOT_STATE_DIR"],
  ["openclaw", "2026.3.22", ["CLAWDBOT_STATE_DIR"], ".openclaw"],
  ["openclaw", "2026.10.1", ["CLAWDBOT_STATE_DIR", "MOLTBOT_STATE_DIR"], ".openclaw"],
  ["openclaw", "2026.9.6", ["CLAWDBOT_STATE_DIR", "OPENCLAW_STATE_DIR"], "of-OPENCLAW_STATE_DIR"],
  ["no-host", "1.0.0", ["CLAWDBOT_STATE_DIR"], "of-CLAWDBOT_STATE_DIR"],
];

describe("the state folder of the running host", { concurrency: 4 }, () => {
  for (const [host, version, variables, folder] of cases) {
    test(`${host} ${version} with ${variables.join(" and ")}: ${folder}`, async (t) => {
      const home = TempHome.create(t);
      const folders = [".openclaw", ".clawdbot", ...variables.map((name) => `of-${name}`)];
      for (const name of folders) {
        mkdirSync(join(home.path, name));
      }
      const env = Object.fromEntries(variables.map((name) => [name, join(home.path, `of-${name}`)]));
      const { path } = await status(t, home, host, version, env);
      assert.equal(path, join(home.path, folder, "credentials/memory/default.json"));
    });
  }

  test("a host that keeps its logins in a database gets no auth-profiles.json, and one that reads it does", async (t) => {
    for (const [version, expected] of [
      ["2026.5.28", undefined],
      ["2026.6.1", "INVALID_CONFIG"],
    ] as const) {
      const home = TempHome.create(t);
      const { code } = await status(t, home, "openclaw", version, {}, { credentialsFormat: "auth-profiles" });
      assert.equal(code, expected, version);
    }
  });
});

/** The `status` of a plugin in that host. The host is started by a link, as npm makes it. */
async function status(
  t: Lifetime,
  home: TempHome,
  host: string,
  version: string,
  env: Record<string, string>,
  more: object = {},
): Promise<{ path?: string; code?: string }> {
  const folder = join(home.path, "lib/node_modules", host);
  mkdirSync(join(folder, "dist"), { recursive: true });
  mkdirSync(join(home.path, "bin"));
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: host, version }));
  writeFileSync(
    join(folder, "dist/entry.cjs"),
    `const { status } = require(${JSON.stringify(library)});
     const say = (members) => process.stdout.write(JSON.stringify({ event: "said", ...members }) + "\\n");
     status(${JSON.stringify({ pluginId: "memory", ...more })}).then(({ path }) => say({ path }), ({ code }) => say({ code }));`,
  );
  const script = join(home.path, "bin", host);
  symlinkSync(join(folder, "dist/entry.cjs"), script);
  const child = Child.start(t, script, { env: home.env(env) });
  const { path, code } = await child.event("said");
  return { ...(typeof path === "string" && { path }), ...(typeof code === "string" && { code }) };
}
