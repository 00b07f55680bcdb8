// For callgrind: a number of calls of one kind, in one process.
//
//   node instructions.mjs <kind> <count> <folder>
import { generateKeyPairSync } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { load, Scratch } from "./scratch.mjs";

const [kind, count, folder] = process.argv.slice(2);
const { authorizationHeaders, getValidAccessToken, listProfiles, status } = load("index.js");
const scratch = Object.assign(Object.create(Scratch.prototype), { path: folder });
if (kind === "proof") {
  const key = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ format: "der", type: "pkcs8" });
  scratch.store("default", { more: { tokenType: "DPoP", dpopKey: key.toString("base64url") } });
}
// More than are listed at a glance.
if (kind === "list") for (let profile = 0; profile < 99; profile += 1) scratch.store(`profile-${profile}`);
await getValidAccessToken(scratch.config());
await pause(100);
const config = scratch.config();
const { signal } = new AbortController();
const request = { method: "GET", url: "https://api.example.com/notes" };
for (let call = 0; call < Number(count); call += 1) {
  if (kind === "fresh") await getValidAccessToken(config);
  else if (kind === "signal") await getValidAccessToken(config, { signal });
  else if (kind === "made") await getValidAccessToken({ ...config });
  else if (kind === "headers" || kind === "proof") await authorizationHeaders(config, request);
  else if (kind === "status") await status(config);
  else if (kind === "list") await listProfiles(config);
  // A different config each time: it is parsed again, and the file's metadata is read.
  else if (kind === "config") await getValidAccessToken({ ...config, requestTimeoutMs: 1000 + call });
  // A different file each time: it is read and parsed.
  else await getValidAccessToken(scratch.config(`${kind}-${call}`));
}
