// One refresh from end to end over TLS, the first of a process and the later ones.
//
//   node refresh.mjs <contestant> <folder> <issuer> <warm refreshes>
import { once } from "node:events";
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { json } from "node:stream/consumers";
import { report } from "./measure.mjs";
import { contestant } from "./rival.mjs";
import { Scratch } from "./scratch.mjs";

const [name, folder, issuer, warm] = process.argv.slice(2);
const scratch = Object.assign(Object.create(Scratch.prototype), { path: folder });
const config = scratch.config(name, { issuer });
const now = () => Number(process.hrtime.bigint());

const times = [];
let token;
let agent;
let memory = process.memoryUsage().rss;
let started = now();
const parts = { fetch: plain, connection: connecting, disk: saving };
const get = parts[name] ?? (await contestant(name, config, scratch.file(name)));
for (let round = 0; round <= Number(warm); round += 1) {
  if (round > 0) {
    scratch.store(name, { issuer, life: -1000 });
    started = now();
  }
  token = await get();
  times.push(now() - started);
  if (round === 0) memory = process.memoryUsage().rss - memory;
}
if (token !== "a".repeat(800)) throw new Error(`${name} gave another token`);
report({ name, cold: times[0], warm: times.slice(1), memory });

/** The network alone, on a connection for each request, as where the last one was more than a second ago. */
async function connecting() {
  const { Agent, request } = await import("node:https");
  agent ??= new Agent({ keepAlive: false });
  const sent = request(config.tokenEndpoint, {
    agent,
    method: "POST",
    headers: { "content-type": "application/x-www-form-urlencoded" },
  });
  sent.end("grant_type=refresh_token&refresh_token=r&client_id=client");
  const [response] = await once(sent, "response");
  return (await json(response)).access_token;
}

/** The disk alone: written, synchronized, renamed, the folder synchronized. */
async function saving() {
  const file = scratch.file(name);
  const written = openSync(`${file}.tmp`, "w", 0o600);
  writeSync(written, readFileSync(file));
  fsyncSync(written);
  closeSync(written);
  renameSync(`${file}.tmp`, file);
  const folder = openSync(dirname(file), "r");
  fsyncSync(folder);
  closeSync(folder);
  return "a".repeat(800);
}

/** The network alone. */
async function plain() {
  const body = new URLSearchParams({ grant_type: "refresh_token", refresh_token: "r", client_id: "client" });
  const response = await fetch(config.tokenEndpoint, { method: "POST", body });
  return (await response.json()).access_token;
}
