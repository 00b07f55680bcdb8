/** The plugin in a host for tests, with an authorization server for tests and the service as a mock of `fetch`. */
import assert from "node:assert/strict";
import { after, afterEach, beforeEach, mock, test } from "node:test";
import { fakeHost, startAuthorizationServer } from "clawdbot-plugin-auth/testing";
import plugin from "./index.ts";

const server = await startAuthorizationServer({ approval: "automatic" });
let memories: string[];
let host: ReturnType<typeof fakeHost>;

mock.method(globalThis, "fetch", async (input: string | URL, init: RequestInit) => {
  const { url, method, headers, body } = new Request(input, init);
  if (!server.accepts(headers.get("authorization"))) return new Response(null, { status: 401 });
  if (method === "POST") memories.push(((await new Response(body).json()) as { text: string }).text);
  const query = new URL(url).searchParams.get("query") ?? "";
  return Response.json(memories.filter((text) => text.includes(query)));
});

beforeEach(() => {
  memories = [];
  host = fakeHost({ pluginConfig: { issuer: server.issuer } });
  host.register(plugin);
});
afterEach(() => host.close());
after(() => server.close());

const store = (text: string) => host.execute("team_memory_store", { text });
const search = async (query: string) =>
  JSON.parse((await host.execute("team_memory_search", { query })).content[0].text);

test("a stored memory is found, by the person who is logged in", async () => {
  await assert.rejects(store("Tea is at four."), /Team Memory needs a login: send `\/team-memory login`/);
  assert.equal((await host.run("team-memory login")).exitCode, 0);
  await store("Tea is at four.");
  assert.deepEqual(await search("Tea"), ["Tea is at four."]);
  assert.deepEqual(await search("Coffee"), []);
});

test("a token that the service no longer takes is replaced", async () => {
  await host.run("team-memory login");
  server.expireTokens();
  await store("Tea is at four.");
  assert.deepEqual(memories, ["Tea is at four."]);
});

test("a login that was ended at the server has to be repeated", async () => {
  await host.run("team-memory login");
  server.expireTokens();
  server.revoke();
  await assert.rejects(store("Tea is at four."), /Team Memory needs a login/);
});
