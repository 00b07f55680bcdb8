// A token endpoint over TLS on loopback, in a process of its own. It answers after a given delay, and counts requests.
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fixtures } from "./scratch.mjs";

const delay = Number(process.argv[2] ?? 0);
let requests = 0;
const tls = { key: readFileSync(join(fixtures, "server.key")), cert: readFileSync(join(fixtures, "server.pem")) };
const server = createServer(tls, (request, response) => {
  request.resume().on("end", () => {
    requests += 1;
    const number = String(requests).padStart(60, "r");
    const body = { access_token: "a".repeat(800), refresh_token: number, token_type: "Bearer", expires_in: 3600 };
    setTimeout(() => response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body)), delay);
  });
});
server.listen(0, "127.0.0.1", () => say({ port: server.address().port }));
createInterface({ input: process.stdin })
  .on("line", () => {
    say({ requests });
    requests = 0;
  })
  .on("close", () => process.exit());

function say(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}
