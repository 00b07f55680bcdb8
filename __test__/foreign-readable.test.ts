/** Other programs can read the files that this package writes, and their settings are respected. */
import assert from "node:assert/strict";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { describe, test } from "node:test";
import { getValidAccessToken, importToken, login } from "../index.js";
import { ForeignFile } from "./support/foreign-file.ts";
import { approvedLogin } from "./support/login.ts";
import { rejection } from "./support/rejection.ts";

describe("what their programs would not read is not written", { concurrency: 4 }, () => {
  test("codex: a login without an ID token", async (t) => {
    const file = await ForeignFile.create(t, "codex");
    rmSync(file.path);
    await assert.rejects(approvedLogin({ ...file.config, scopes: ["memory", "offline_access"] }), {
      code: "INVALID_CONFIG",
      message: /openid/,
    });
    await rejection(importToken(file.config, { access: "a", refresh: "r" }), "INVALID_CONFIG");
    assert.equal(existsSync(file.path), false);
  });

  test("codex: a token without a refresh token is a key", async (t) => {
    const file = await ForeignFile.create(t, "codex");
    await importToken(file.config, { access: "sk-1" });
    const { auth_mode, OPENAI_API_KEY, tokens } = file.json();
    assert.deepEqual(
      { auth_mode, OPENAI_API_KEY, tokens },
      { auth_mode: "apikey", OPENAI_API_KEY: "sk-1", tokens: undefined },
    );
  });

  test("codex: `auth_mode` decides, as Codex reads it", async (t) => {
    const file = await ForeignFile.create(t, "codex");
    const tokens = { id_token: "x.e30.x", access_token: "tokens", refresh_token: "r" };
    for (const [json, expected] of [
      [{ auth_mode: "chatgpt", OPENAI_API_KEY: "key", tokens }, "tokens"],
      [{ auth_mode: "apikey", OPENAI_API_KEY: "key", tokens }, "key"],
      [{ auth_mode: null, OPENAI_API_KEY: "key", tokens }, "key"],
      [{ OPENAI_API_KEY: "key", tokens }, "key"],
      [{ OPENAI_API_KEY: null, tokens }, "tokens"],
      [{ auth_mode: "apikey", tokens }, undefined],
    ] as const) {
      writeFileSync(file.path, JSON.stringify(json));
      if (expected) {
        assert.equal(await getValidAccessToken(file.config), expected, JSON.stringify(json));
      } else {
        await rejection(getValidAccessToken(file.config), "LOGIN_REQUIRED");
      }
    }
  });

  for (const store of ["keyring", "auto", "ephemeral"]) {
    test(`codex: keeps its login elsewhere (${store}), and the error names the setting`, async (t) => {
      const file = await ForeignFile.create(t, "codex");
      const setting = file.path.replace("auth.json", "config.toml");
      writeFileSync(setting, `model = "o1"\ncli_auth_credentials_store = "${store}" # here\n[mcp]\n`);
      const error = await rejection(getValidAccessToken(file.config), "INVALID_CONFIG");
      assert.match(error.message, /cli_auth_credentials_store/);
      await rejection(login(file.config, { onVerification: () => assert.fail() }), "INVALID_CONFIG");
      writeFileSync(setting, `cli_auth_credentials_store = 'file'\n[x]\ncli_auth_credentials_store = "${store}"\n`);
      assert.equal(await getValidAccessToken(file.config), file.tokens().access);
    });
  }

  for (const [format, member] of [
    ["qwen-code", "expiry_date"],
    ["pi", "expires"],
    ["kimi-code", "expires_at"],
    ["gemini-cli", "expiry_date"],
  ] as const) {
    test(`${format}: an end, where the server names none`, async (t) => {
      const file = await ForeignFile.create(t, format);
      await file.server.intercept({ grant: "refresh_token" }, { edit: { expires_in: undefined } });
      await getValidAccessToken(file.config);
      const json = format === "pi" ? file.json().memory : file.json();
      assert.ok(json[member] > Date.now() / 1000);
    });
  }

  test("qwen-code: where the token is used, as its server says", async (t) => {
    const file = await ForeignFile.create(t, "qwen-code");
    await file.server.intercept({ grant: "refresh_token" }, { edit: { resource_url: "elsewhere.example.com" } });
    await getValidAccessToken(file.config);
    assert.equal(file.json().resource_url, "elsewhere.example.com");
  });

  test("claude-code: the scope without which it takes a login for none; a server that knows no JSON is asked with a form", async (t) => {
    const file = await ForeignFile.create(t, "claude-code");
    const scopes = ["user:inference", "user:profile"];
    file.write(file.tokens());
    writeFileSync(file.path, file.text().replace('["memory", "offline_access"]', JSON.stringify(scopes)));
    await getValidAccessToken(file.config);
    assert.deepEqual(file.json().claudeAiOauth.scopes, scopes);
  });
});
