// Bluesky's PDS with an account of its own. On Node 22: its SQLite (better-sqlite3 12.11.1) ends the process on 24.21
// now and then, when a statement is collected as garbage.
import { mkdtempSync, rmSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { nodeBinary } from "../../support/nodes.ts";
import { sentTo } from "../oidc.mjs";
import { Browser, freePort, program } from "../parts.mjs";

export async function pdsServer(t) {
  const folder = mkdtempSync(join(tmpdir(), "pds-"));
  const [port, directoryPort] = [await freePort(), await freePort()];
  const origin = `http://localhost:${port}`;
  const script = fileURLToPath(new URL("serve.mjs", import.meta.url));
  const args = [script, String(port), String(directoryPort), folder];
  await program(t, nodeBinary(22), args, `${origin}/xrpc/_health`);
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const account = { email: "ada@example.com", handle: "ada.test", password: "a long password" };
  const created = await fetch(`${origin}/xrpc/com.atproto.server.createAccount`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(account),
  });
  const { did } = await created.json();
  return {
    origin,
    resource: origin,
    did,
    /** Plays the pages of its authorization endpoint: sign in, then consent. */
    async approve(url) {
      const page = new URL(url).origin === origin ? url : await sentTo(url);
      const cookies = new Map();
      const send = (target, method, headers, body) =>
        new Promise((resolve, reject) => {
          const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join("; ");
          const request = http.request(
            target,
            { method, headers: { ...headers, cookie, "user-agent": "test" } },
            async (answer) => {
              for (const line of answer.headers["set-cookie"] ?? []) {
                const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
                cookies.set(name, value);
              }
              let text = "";
              for await (const chunk of answer.setEncoding("utf8")) text += chunk;
              if (answer.headers.location !== undefined) text = answer.headers.location;
              answer.statusCode < 400 ? resolve(text) : reject(new Error(`${target}: ${answer.statusCode} ${text}`));
            },
          );
          request.on("error", reject).end(body);
        });
      const navigating = { "sec-fetch-mode": "navigate", "sec-fetch-dest": "document" };
      await send(page, "GET", { ...navigating, "sec-fetch-site": "none" });
      const api = async (name, input) => {
        const headers = {
          "content-type": "application/json",
          "sec-fetch-mode": "same-origin",
          "sec-fetch-site": "same-origin",
          origin,
          referer: page,
          "x-csrf-token": cookies.get("csrf-token"),
        };
        return JSON.parse(
          await send(`${origin}/@atproto/oauth-provider/~api${name}`, "POST", headers, JSON.stringify(input)),
        );
      };
      await api("/sign-in", { locale: "en", username: account.handle, password: account.password, remember: true });
      const { url: next } = await api("/consent", { did });
      const back = await send(next, "GET", { ...navigating, "sec-fetch-site": "same-origin", referer: page });
      return new Browser().open(back);
    },
  };
}
