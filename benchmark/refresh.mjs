// One refresh from end to end over TLS, the first of a process and the later ones.
//
//   node refresh.mjs <contestant> <folder> <issuer> <warm refreshes>
import { report } from "./measure.mjs";
import { contestant } from "./rival.mjs";
import { Scratch } from "./scratch.mjs";

const [name, folder, issuer, warm] = process.argv.slice(2);
const scratch = Object.assign(Object.create(Scratch.prototype), { path: folder });
const config = scratch.config(name, { issuer });
const now = () => Number(process.hrtime.bigint());

const times = [];
let token;
let memory = process.memoryUsage().rss;
let started = now();
const get = name === "fetch" ? plain : await contestant(name, config, scratch.file(name));
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

// The network alone.
async function plain() {
  const body = new URLSearchParams({ grant_type: "refresh_token", refresh_token: "r", client_id: "client" });
  const response = await fetch(config.tokenEndpoint, { method: "POST", body });
  return (await response.json()).access_token;
}
