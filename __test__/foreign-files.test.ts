/**
 * Logins in the files of other programs (`credentialsFormat`): read, refreshed and written back there, and nothing
 * else.
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { getValidAccessToken, status } from "../index.js";
import { AuthorizationServer } from "./support/authorization-server.ts";
import { ForeignFile, jwt, layouts } from "./support/foreign-file.ts";
import { foreignFiles } from "./support/foreign-files.ts";
import { approvedLogin, configFor } from "./support/login.ts";
import { rejection } from "./support/rejection.ts";
import { TempHome } from "./support/temp-home.ts";

for (const format of ["auth-profiles", "claude-code", "codex", "qwen-code"] as const) {
  foreignFiles(format, true);
}

describe("where they lie", () => {
  for (const [format, variable] of [
    ["claude-code", "CLAUDE_CONFIG_DIR"],
    ["codex", "CODEX_HOME"],
    ["qwen-code", undefined],
  ] as const) {
    test(`${format}: in the home, or where ${variable ?? "nothing else"} says`, async (t) => {
      const home = TempHome.create(t);
      const path = join(home.path, layouts[format].path);
      mkdirSync(dirname(path));
      writeFileSync(path, layouts[format].text(ForeignFile.theirs(), { counter: 0, lastRefresh: "" }));
      const config = { pluginId: "memory", issuer: "https://auth.example.com", credentialsFormat: format };
      const { PluginProcess } = await import("./support/plugin-process.ts");
      const plugin = await PluginProcess.start(t, { env: home.env() });
      assert.equal((await plugin.status(config)).path, path);
      assert.equal(
        JSON.stringify(JSON.parse(readFileSync(path, "utf8"))).includes(await plugin.accessToken(config)),
        true,
      );
      if (variable !== undefined) {
        const elsewhere = join(home.path, "elsewhere");
        const moved = await PluginProcess.start(t, { env: home.env({ [variable]: elsewhere }) });
        const { state, path } = await moved.status(config);
        assert.equal(dirname(path), elsewhere);
        assert.equal(state, "logged_out");
      }
    });
  }

  test("Codex' key of its own is a static token", async (t) => {
    const home = TempHome.create(t);
    const path = join(home.path, "auth.json");
    writeFileSync(path, '{"OPENAI_API_KEY":"sk-1","tokens":null}');
    const config = { pluginId: "memory", stateDir: home.stateDir, credentialsPath: path };
    assert.equal(await getValidAccessToken({ ...config, credentialsFormat: "codex" }), "sk-1");
    assert.equal((await status({ ...config, credentialsFormat: "codex" })).refreshable, false);
  });

  test("a new id token brings the account of Codex' requests", async (t) => {
    const file = await ForeignFile.create(t, "codex");
    const id_token = jwt({ "https://api.openai.com/auth": { chatgpt_account_id: "acc-2" } });
    await file.server.intercept({ grant: "refresh_token" }, { edit: { id_token } });
    await getValidAccessToken(file.config);
    assert.equal(file.json().tokens.account_id, "acc-2");
    assert.equal(file.json().tokens.id_token, id_token);
    assert.ok(Math.abs(Date.parse(file.json().last_refresh) - Date.now()) < 60_000);
  });
});

describe("what a program that takes no lock of ours stored while we refreshed", { concurrency: 3 }, () => {
  const longer = () => jwt({ exp: Math.floor(Date.now() / 1000) + 7200 });
  // The file before and after the change.
  const codex = (text: string, account: string) => text.replace('"acc-1"', `"${account}"`);
  const qwen = (text: string, subject: string) =>
    text.replace('"token_type"', `"id_token": "${jwt({ sub: subject })}", "token_type"`);
  for (const [what, format, known, then, wins] of [
    ["the same account, and the earlier expiry", "codex", "acc-1", "acc-1", false],
    ["another account", "codex", "acc-1", "acc-2", true],
    ["no account", "codex", "acc-1", "", true],
    ["the same subject, whose program has a lock that we hold", "qwen-code", "ann", "ann", true],
    ["another subject", "qwen-code", "ann", "bob", true],
    ["nothing that says who it is", "qwen-code", undefined, undefined, true],
    ["nothing that says who it is", "claude-code", undefined, undefined, true],
  ] as const) {
    test(`${format}, ${what}: ${wins ? "the file wins" : "ours is written"}`, async (t) => {
      const file = await ForeignFile.create(t, format);
      const says = (account: string | undefined) => {
        if (account !== undefined) {
          writeFileSync(file.path, (format === "codex" ? codex : qwen)(file.text(), account));
        }
      };
      says(known);
      const held = await file.server.intercept(
        { grant: "refresh_token" },
        { hold: "after", edit: { access_token: longer(), expires_in: 7200 } },
      );
      const token = getValidAccessToken({ ...file.config, refreshBufferMs: 0 });
      await held.arrived;
      const theirs = ForeignFile.theirs(600_000);
      file.write(theirs, 3);
      says(then);
      await held.release();
      assert.equal(await token, file.tokens().access);
      assert.equal(file.tokens().refresh === "theirs", wins);
      assert.equal(file.json().counter ?? file.json().mcpOAuth["plugin|0a"].counter, 3);
    });
  }
});

describe("configs that make no sense", () => {
  const base = { pluginId: "memory", issuer: "https://auth.example.com" };
  for (const [what, config] of [
    ["an unknown format", { credentialsFormat: "netrc" }],
    ["agentId without the format", { agentId: "main" }],
    ["profileId of another format", { credentialsFormat: "codex", profileId: "a:b" }],
    ["a profile", { credentialsFormat: "codex", profile: "work" }],
    ["a profile and a profileId", { credentialsFormat: "auth-profiles", profile: "a", profileId: "memory:b" }],
    ["an order", { credentialsFormat: "auth-profiles", order: ["a", "b"] }],
    ["the keychain", { credentialsFormat: "codex", storage: "keychain" }],
    ["a key", { credentialsFormat: "codex", dpop: true }],
    ["an agent that leads elsewhere", { credentialsFormat: "auth-profiles", agentId: "../x" }],
  ] as const) {
    test(what, async () => {
      await rejection(getValidAccessToken({ ...base, ...config } as never), "INVALID_CONFIG");
    });
  }
});

test("a credential of this package is not read as another program's, nor the other way round", async (t) => {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const own = configFor(server, home.stateDir);
  const { status: stored } = await approvedLogin(own);
  const foreign = { ...own, credentialsPath: stored.path, credentialsFormat: "codex" as const };
  await rejection(getValidAccessToken(foreign), "LOGIN_REQUIRED");
  assert.equal(existsSync(stored.path), true);
  assert.equal((await status(own)).state, "valid");
});
