/** One connection serves requests that follow at once, and none is kept for longer than a second. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { refreshTokens } from "../index.js";

test("refreshes in turn share a connection; it is closed a second later, and the next one opens its own", {
  timeout: 30_000,
}, async (t) => {
  const { config, connections } = await tokenEndpoint(t);
  let refresh = "r0";
  for (let turn = 0; turn < 5; turn += 1) refresh = (await refreshTokens(config, refresh)).refresh ?? "";
  assert.equal(connections.length, 1);
  const [first] = connections;
  assert.ok(first);
  if (!first.closed) await once(first, "close");
  await refreshTokens(config, refresh);
  assert.equal(connections.length, 2);
});

for (const [moment, close] of [
  ["at once", (socket: Socket) => socket.end()],
  ["in the next turn", (socket: Socket) => setImmediate(() => socket.end())],
  [
    "with the next request unread",
    (socket: Socket) => {
      socket.pause();
      setTimeout(() => socket.resetAndDestroy(), 20);
    },
  ],
] as const) {
  test(`a server that closes a connection after its answer without a word, ${moment}, gets each refresh token once`, async (t) => {
    const { config, spent } = await tokenEndpoint(t, close);
    let refresh = "r0";
    for (let turn = 0; turn < 6; turn += 1) refresh = (await refreshTokens(config, refresh)).refresh ?? "";
    assert.equal(refresh, "r6");
    assert.deepEqual(spent, ["r0", "r1", "r2", "r3", "r4", "r5"]);
  });
}

/** Rotates, and calls `answered` with the connection after each answer. */
async function tokenEndpoint(t: TestContext, answered: (socket: Socket) => void = () => {}) {
  const spent: string[] = [];
  const connections: Socket[] = [];
  const server: Server = createServer(async (request, response) => {
    let body = "";
    for await (const part of request.setEncoding("utf8")) body += part;
    const token = new URLSearchParams(body).get("refresh_token") ?? "";
    spent.push(token);
    const refresh_token = `r${Number(token.slice(1)) + 1}`;
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ access_token: "a", token_type: "Bearer", expires_in: 3600, refresh_token }), () =>
      answered(request.socket),
    );
  });
  server.keepAliveTimeout = 600_000;
  server.on("connection", (socket) => connections.push(socket)).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  const config = { pluginId: "p", issuer: url, tokenEndpoint: `${url}/token`, clientId: "c" };
  return { config, spent, connections };
}
