/** The tests of such a plugin after the migration: no mock of a token endpoint. */
import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { fakeHost, startAuthorizationServer } from "clawdbot-plugin-auth/testing";
import plugin from "./index.ts";

test("the menu is kept for the one who is logged in", async (t) => {
  const server = await startAuthorizationServer({ approval: "automatic" });
  const host = fakeHost({ pluginConfig: { authServer: server.issuer } });
  t.after(() => Promise.all([host.close(), server.close()]));
  let answers = 0;
  mock.method(globalThis, "fetch", async (_url: string, { headers }: RequestInit) => {
    const isAccepted = server.accepts(new Headers(headers).get("authorization"));
    answers += isAccepted ? 1 : 0;
    return new Response("Earl Grey", { status: isAccepted ? 200 : 401 });
  });
  host.register(plugin);
  const menu = async () => (await host.execute("tea_menu")).content[0].text;

  await assert.rejects(menu(), /Tea Shop needs a login: run `openclaw tea login` in a terminal/);
  await host.run("tea login");
  assert.equal(await menu(), "Earl Grey");
  assert.equal(await menu(), "Earl Grey");
  assert.equal(answers, 1);
  await host.run("tea logout");
  await assert.rejects(menu(), /Tea Shop needs a login/);
  await host.run("tea login");
  assert.equal(await menu(), "Earl Grey");
  assert.equal(answers, 2);
});
