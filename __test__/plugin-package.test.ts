/** The plugin kit as it is published, and the example that uses it. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { configSchema, uiHints } from "../plugin/index.ts";
import { Child } from "./support/child.ts";
import { TempHome } from "./support/temp-home.ts";

const root = new URL("..", import.meta.url);
const json = (path: string) => JSON.parse(readFileSync(new URL(path, root), "utf8"));

for (const node of [18, 24] as const) {
  test(`Node ${node}: require and import give the same kit`, async (t) => {
    const child = Child.start(t, "plugin-modules.mjs", { node, env: TempHome.create(t).env() });
    const { names, exported, same } = await child.event("modules");
    assert.deepEqual(names, [
      "browserAuthMethod",
      "changesChannel",
      "configSchema",
      "deviceCodeAuthMethod",
      "loginNeeded",
      "pluginAuth",
      "refreshOAuth",
      "uiHints",
    ]);
    assert.deepEqual(exported, names);
    assert.equal(same, true);
  });
}

test("the example's manifests say what the kit's configSchema and uiHints say", () => {
  for (const manifest of ["clawdbot.plugin.json", "openclaw.plugin.json"]) {
    const { configSchema: schema, uiHints: hints } = json(`examples/memory-plugin/${manifest}`);
    const { serviceUrl: _service, ...properties } = schema.properties;
    assert.deepEqual(properties, configSchema.properties);
    const { serviceUrl: _hint, ...ours } = hints;
    assert.deepEqual(ours, uiHints);
  }
});

test("the example has less than 60 lines of its own, and its manifests name its tools and entry", () => {
  const source = readFileSync(new URL("examples/memory-plugin/index.ts", root), "utf8");
  assert.ok(source.trimEnd().split("\n").length < 60);
  const { contracts } = json("examples/memory-plugin/openclaw.plugin.json");
  assert.deepEqual(
    [...source.matchAll(/name: "(\w*memory_\w+)"/g)].map(([, name]) => name),
    contracts.tools,
  );
  const { clawdbot, openclaw, dependencies } = json("examples/memory-plugin/package.json");
  assert.deepEqual(clawdbot.extensions, openclaw.extensions);
  assert.equal(dependencies["clawdbot-plugin-auth"], json("package.json").version);
});
