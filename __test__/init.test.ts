/**
 * `npx clawdbot-plugin-auth init`: a plugin that logs in, without an edit. The newest host loads it in __test__/hosts.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { configSchema, uiHints } from "../plugin/index.ts";
import { command, newPlugin } from "./support/new-plugin.ts";
import { TempHome } from "./support/temp-home.ts";

test("what init writes compiles in strict TypeScript and passes its own test", (t) => {
  const { path } = TempHome.create(t);
  const folder = newPlugin(path, "tea-shop", "--name", "Tea (& more)", "--service", "https://tea.example.com");
  // Started as by a person, not by another runner.
  const { NODE_TEST_CONTEXT: _context, ...env } = process.env;
  const tested = execFileSync(process.execPath, ["--test", "dist/index.test.js"], {
    cwd: folder,
    encoding: "utf8",
    env,
  });
  assert.match(tested, /pass 1\b/);
  assert.match(tested, /fail 0\b/);

  const json = (file: string) => JSON.parse(readFileSync(join(folder, file), "utf8"));
  const { name, openclaw, clawdbot, main, scripts } = json("package.json");
  assert.equal(name, "tea-shop");
  assert.equal(scripts.test, "tsc && node --test dist/*.test.js");
  assert.deepEqual([openclaw.extensions, clawdbot.extensions], [[`./${main}`], [`./${main}`]]);
  assert.ok(existsSync(join(folder, main)));
  for (const file of ["openclaw.plugin.json", "clawdbot.plugin.json"]) {
    const manifest = json(file);
    assert.deepEqual([manifest.id, manifest.name], ["tea-shop", "Tea (& more)"]);
    assert.deepEqual([manifest.configSchema, manifest.uiHints], [configSchema, uiHints]);
  }
  assert.deepEqual(json("openclaw.plugin.json").contracts.tools, ["tea_shop_search"]);
});

test("init writes over nothing, and says what is wrong with what it is given", (t) => {
  const { path } = TempHome.create(t);
  const fails = (...args: string[]) => {
    try {
      command(["init", ...args], path);
    } catch (error) {
      return String((error as { stderr?: unknown }).stderr);
    }
    return assert.fail("It did not fail");
  };
  const before = readdirSync(path);
  assert.match(fails("Tea Shop"), /small letters, digits and hyphens/);
  assert.match(fails("../away"), /small letters, digits and hyphens/);
  assert.match(fails("tea", "--issuer", "auth.example.com"), /--issuer takes an https URL/);
  assert.match(fails("tea", "--issuer", "http://auth.example.com"), /--issuer takes an https URL/, "as the kit does");
  assert.match(fails("tea", "cups"), /One plugin at a time; what is "cups"/);
  assert.match(fails(), /Usage: [\s\S]*init <plugin id>/);
  assert.deepEqual(readdirSync(path), before);

  command(["init", "tea", "--service", "https://api.example.com/v1"], path);
  const written = ["src/index.ts", "src/index.test.ts"].map((file) => join(path, "tea", file)).filter(existsSync);
  const [plugin = "", ...tests] = written.map((file) => readFileSync(file, "utf8"));
  assert.match(plugin, /service = "https:\/\/api\.example\.com\/v1\/";[\s\S]*new URL\("search", service\)/);
  assert.match(tests.join(""), /"https:\/\/api\.example\.com\/v1\/search\?query=tea"/);
  assert.match(fails("tea"), /Nothing was written: .*tea has package\.json/);
});
