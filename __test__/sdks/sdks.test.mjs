// Each recipe of docs/guide/sdks.md, run against the real SDK and a server on loopback: `npm run test:sdks`.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { loginNeeded, pluginAuth } from "../../dist/index.js";
import { importToken, logout } from "../../index.js";
import { mcpAnswer } from "./mcp.mjs";
import { providers, recipes } from "./recipes.mjs";

/** A service with a token endpoint: it accepts the newest token, unless that has been ended. */
async function startService(t) {
  const state = { given: 1, isEnded: false, refreshes: 0, seen: [] };
  const server = http.createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request.setEncoding("utf8")) body += chunk;
    const { pathname } = new URL(request.url, "http://service");
    const json = (status, value, headers = {}) =>
      response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(value));
    if (pathname === "/token") {
      state.given += 1;
      state.refreshes += 1;
      state.isEnded = false;
      const tokens = { access_token: `a${state.given}`, refresh_token: `r${state.given}` };
      json(200, { ...tokens, token_type: "Bearer", expires_in: 3600 });
      return;
    }
    const isGood = !state.isEnded && request.headers.authorization?.toLowerCase() === `bearer a${state.given}`;
    state.seen.push({ isGood, path: pathname, body });
    if (!isGood) {
      const challenge = { "www-authenticate": 'Bearer error="invalid_token"' };
      json(401, { error: { type: "authentication_error", message: "no" }, message: "no" }, challenge);
      return;
    }
    if (pathname === "/mcp") {
      await mcpAnswer(request, response, body);
      return;
    }
    if (pathname === "/events") {
      response.writeHead(200, { "content-type": "text/event-stream" }).write("data: ada\n\n");
      return;
    }
    json(200, answers[pathname]?.(body) ?? { ok: true, name: "ada" });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { state, origin: `http://127.0.0.1:${server.address().port}` };
}

const completion = () => ({
  id: "c1",
  object: "chat.completion",
  created: 1,
  model: "m",
  choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", content: "ada" } }],
  usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
});
const viewer = { __typename: "User", id: "u1", name: "ada", email: "a@b", displayName: "ada", active: true };
const answers = {
  "/v1/chat/completions": completion,
  "/v1/messages": () => ({ id: "m1", type: "message", role: "assistant", model: "m", content: [], usage: {} }),
  "/v1/customers": () => ({ id: "cus_1", object: "customer", name: "ada" }),
  "/graphql": (body) => ({ data: body.includes("viewer") ? { viewer } : { me: "ada" } }),
  "/drive/v3/files": () => ({ files: [{ name: "ada" }] }),
  "/upload/drive/v3/files": () => ({ name: "ada" }),
  "/rest/v1/notes": () => [{ name: "ada" }],
};

async function loggedIn(t) {
  const { state, origin } = await startService(t);
  const stateDir = mkdtempSync(join(tmpdir(), "sdks-"));
  t.after(() => rmSync(stateDir, { recursive: true }));
  const login = { pluginId: "my-lab", stateDir, tokenEndpoint: `${origin}/token`, clientId: "public" };
  const logger = { info() {}, warn() {} };
  const auth = pluginAuth({ id: "my-lab", name: "My Lab", logger }, { ...login, origins: [origin] });
  const store = (expires) =>
    importToken(login, { access: `a${state.given}`, refresh: `r${state.given}`, expires: Date.now() + expires });
  await store(3_600_000);
  return { auth, login, state, origin, store };
}

test("the guide shows the recipes as they are run", () => {
  const guide = readFileSync(join(import.meta.dirname, "..", "..", "docs", "guide", "sdks.md"), "utf8");
  for (const { name, connect, isShown = true } of [...recipes, ...providers]) {
    const [, ...lines] = connect.toString().split("\n").slice(0, -1);
    const code = lines.map((line) => line.replace(/^ {6}/, "")).join("\n");
    assert.ok(!isShown || guide.includes(code), `the recipe of ${name} in docs/guide/sdks.md is another`);
  }
});

for (const { name, connect } of recipes) {
  test(name, { timeout: 60_000 }, async (t) => {
    const { auth, login, state, origin, store } = await loggedIn(t);
    const call = await connect(auth, origin, t);

    // Connected: the token is there, nothing is refreshed.
    await call();
    assert.equal(state.refreshes, 0);
    assert.ok(state.seen.every(({ isGood }) => isGood));

    // A token that has ended: one refusal, one refresh, and the call succeeds.
    state.isEnded = true;
    state.seen.length = 0;
    await call();
    assert.equal(state.refreshes, 1);
    const [refused, ...others] = state.seen;
    assert.equal(refused.isGood, false);
    assert.ok(others.some(({ path, body, isGood }) => isGood && path === refused.path && body === refused.body));

    // Ten calls when it has expired cost one refresh, and the service refuses none.
    await store(-1000);
    state.seen.length = 0;
    await Promise.all(Array.from({ length: 10 }, () => call()));
    assert.equal(state.refreshes, 2);
    assert.ok(state.seen.every(({ isGood }) => isGood));

    // No login: the user soon reads the sentence of the kit, through any SDK.
    await logout(login);
    const error = await call().then(
      () => assert.fail("resolved without a login"),
      (reason) => loginNeeded(reason),
    );
    assert.match(error.message, /My Lab needs a login: run `openclaw my-lab login`/);
  });
}

for (const { name, connect } of providers) {
  test(name, { timeout: 60_000 }, async (t) => {
    const { auth, login, state, origin } = await loggedIn(t);
    const call = await connect(auth, origin, t);
    await call();
    assert.equal(state.refreshes, 0);

    state.isEnded = true;
    state.seen.length = 0;
    await call();
    assert.equal(state.refreshes, 1);
    assert.equal(state.seen[0].isGood, false);
    assert.equal(state.seen.at(-1).isGood, true);

    await logout(login);
    state.isEnded = true;
    const error = await (await connect(auth, origin, t))().then(
      () => assert.fail("resolved without a login"),
      (reason) => loginNeeded(reason),
    );
    assert.match(error.message, /My Lab needs a login: run `openclaw my-lab login`/);
  });
}
