// One login in a real engine: what a fresh token costs beside a file's, and when another machine's doings are seen
// here.
//
//   node --import tsx stores.mjs <engine> <rounds>             the machine that looks; starts the engine and the other one
//   node stores.mjs <engine> other <options> <config>          the other one
import { fork } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { interleaved, report } from "./measure.mjs";
import { load, Scratch } from "./scratch.mjs";

const { getValidAccessToken, importToken, logout } = load("index.js");
const [engine, rounds, ...told] = process.argv.slice(2);
const module = engine === "valkey" ? "redis" : engine;
const storeOf = (await import(`../dist/stores/${module}.js`))[`${module}Store`];
const now = () => performance.timeOrigin + performance.now();

if (rounds === "other") await other(...told.map((text) => JSON.parse(text)));
else report(await here(Number(rounds)));

async function here(count) {
  const { Scope } = await import("../__test__/support/lifetime.ts");
  const { engines } = await import("../__test__/support/engines.ts");
  const { isLive } = await import("../__test__/support/live-store.ts");
  const { unavailable } = engines[engine];
  if (unavailable !== false) return { unavailable };
  const scope = new Scope();
  const scratch = new Scratch();
  scope.after(() => scratch.remove());
  try {
    const { told: at } = await engines[engine].start(scope, true);
    const store = storeOf(at.options);
    scope.after(() => store.end());
    const { read } = store;
    let reads = 0;
    store.read = (key) => {
      reads += 1;
      return read(key);
    };
    const live = isLive(store);
    const { stateDir: _, ...shared } = scratch.config();
    const machine = fork(fileURLToPath(import.meta.url), [
      engine,
      "other",
      JSON.stringify(at.options),
      JSON.stringify(shared),
    ]);
    scope.after(async () => {
      machine.disconnect();
      // There is no "close" after that (nodejs/node#65646).
      await once(machine, "exit");
    });
    const [tokenEndpoint] = await once(machine, "message");
    const config = { ...shared, tokenEndpoint, store };
    const writes = [];
    const does = async (what, access) => {
      machine.send({ what, access });
      const [{ sent, took }] = await once(machine, "message");
      writes.push(took * 1e6);
      return sent;
    };
    const look = () => getValidAccessToken(config).catch(({ code }) => code);
    const token = () => randomBytes(400).toString("hex");

    await does("login", token());
    await look();
    await live;
    const seen = { login: [], refresh: [], logout: [] };
    for (let round = 0; round < count; round += 1) {
      for (const what of Object.keys(seen)) {
        const before = await look();
        const sent = does(what, token());
        while ((await look()) === before) await pause(1);
        const at = now();
        seen[what].push((at - (await sent)) * 1e6);
      }
    }

    await does("login", token());
    scratch.store();
    const file = scratch.config();
    while ((await look()) === "LOGIN_REQUIRED") await pause(1);
    // The first look after a while asks whether anything was missed; from then on reports alone count.
    await pause(1_100);
    await look();
    const before = reads;
    const calls = (of) => async (number) => {
      for (let call = 0; call < number; call += 1) await getValidAccessToken(of);
    };
    const fresh = await interleaved({ file: calls(file), store: calls(config) }, { rounds: 60, count: 2000 });
    return { seen, writes, fresh, queries: reads - before };
  } finally {
    await scope.end();
  }
}

/** Another process: takes commands, and reports when the value that counts was sent to the engine. */
async function other(options, config) {
  const server = createServer((request, response) => {
    request.resume().on("end", () => {
      const body = { access_token: randomBytes(400).toString("hex"), refresh_token: randomBytes(30).toString("hex") };
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify({ ...body, token_type: "Bearer", expires_in: 3600 }));
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const store = storeOf(options);
  const { write } = store;
  let [sent, took] = [0, 0];
  store.write = async (...value) => {
    sent = now();
    const version = await write(...value);
    took = now() - sent;
    return version;
  };
  const tokenEndpoint = `http://127.0.0.1:${server.address().port}/token`;
  const shared = { ...config, tokenEndpoint, store };
  const doings = {
    login: (access) => importToken(shared, { access, refresh: "r".repeat(60), expires: Date.now() + 3_600_000 }),
    refresh: async () => getValidAccessToken(shared, { rejectedToken: await getValidAccessToken(shared) }),
    logout: () => logout(shared),
  };
  process.on("message", async ({ what, access }) => {
    await doings[what](access);
    process.send({ sent, took });
  });
  process.once("disconnect", () => process.exit());
  process.send(tokenEndpoint);
}
