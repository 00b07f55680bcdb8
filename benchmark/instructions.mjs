// For callgrind: so many calls of one kind, in one process.
//
//   node instructions.mjs <kind> <count> <folder>
import { createRequire } from "node:module";
import { setTimeout as pause } from "node:timers/promises";
import { Scratch } from "./scratch.mjs";

const [kind, count, folder] = process.argv.slice(2);
const { authorizationHeaders, getValidAccessToken, status } = createRequire(import.meta.url)("../index.js");
const scratch = Object.assign(Object.create(Scratch.prototype), { path: folder });
await getValidAccessToken(scratch.config());
await pause(100);
const config = scratch.config();
const { signal } = new AbortController();
const request = { method: "GET", url: "https://api.example.com/notes" };
for (let call = 0; call < Number(count); call += 1) {
  if (kind === "fresh") await getValidAccessToken(config);
  else if (kind === "signal") await getValidAccessToken(config, { signal });
  else if (kind === "made") await getValidAccessToken({ ...config });
  else if (kind === "headers") await authorizationHeaders(config, request);
  else if (kind === "status") await status(config);
  // Another one each time: parsed anew, the file's metadata looked at.
  else if (kind === "config") await getValidAccessToken({ ...config, requestTimeoutMs: 1000 + call });
  // Another file each time: read and parsed anew.
  else await getValidAccessToken(scratch.config(`${kind}-${call}`));
}
