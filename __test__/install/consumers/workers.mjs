// Worker threads that use the package at once: on Node, Bun and Deno.
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { isMainThread, parentPort, Worker } from "node:worker_threads";
import { getValidAccessToken, importToken } from "clawdbot-plugin-auth";

const config = { pluginId: "workers", stateDir: fileURLToPath(new URL(".", import.meta.url)) };
if (isMainThread) {
  await importToken(config, { access: "a-token" });
  const answers = Array.from({ length: 4 }, () => {
    const worker = new Worker(new URL(import.meta.url));
    return new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
  });
  assert.deepEqual(await Promise.all(answers), Array(4).fill("a-token"));
} else {
  parentPort.postMessage(await getValidAccessToken(config));
}
