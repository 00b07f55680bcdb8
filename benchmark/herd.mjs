// One of many processes that all want the same expired token at once, ten times each.
//
//   node herd.mjs <contestant> <folder> <issuer>
import { once } from "node:events";
import { report } from "./measure.mjs";
import { contestant } from "./rival.mjs";
import { Scratch } from "./scratch.mjs";

const [name, folder, issuer] = process.argv.slice(2);
const scratch = Object.assign(Object.create(Scratch.prototype), { path: folder });
const get = await contestant(name, scratch.config(name, { issuer }), scratch.file(name));
const wall = () => performance.timeOrigin + performance.now();
report({ ready: true });
await once(process.stdin, "data");
const started = wall();
const calls = Array.from({ length: 10 }, async () => {
  await get();
  return wall();
});
const ended = await Promise.all(calls);
report({ started, first: Math.min(...ended), last: Math.max(...ended) });
// Not before all others have theirs: what a process takes to end is a third of what all do meanwhile.
process.stdin.resume();
await once(process.stdin, "end");
process.exit();
