// For callgrind: so many calls of one kind, in one process.
//
//   node instructions.mjs <kind> <count> <folder>
import { createRequire } from "node:module";
import { setTimeout as pause } from "node:timers/promises";
import { Scratch } from "./scratch.mjs";

const [kind, count, folder] = process.argv.slice(2);
const { getValidAccessToken } = createRequire(import.meta.url)("../index.js");
const scratch = Object.assign(Object.create(Scratch.prototype), { path: folder });
await getValidAccessToken(scratch.config());
await pause(100);
const config = scratch.config();
for (let call = 0; call < Number(count); call += 1) {
  if (kind === "fresh") await getValidAccessToken(config);
  // Another object each time: parsed anew, the file's metadata looked at.
  else if (kind === "config") await getValidAccessToken({ ...config });
  // Another file each time: read and parsed anew.
  else await getValidAccessToken(scratch.config(`${kind}-${call}`));
}
