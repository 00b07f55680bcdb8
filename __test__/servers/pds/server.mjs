// Bluesky's PDS with an account of its own, and the directory of its identifiers in memory. Node 22 or newer.
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { envToCfg, envToSecrets, PDS } from "@atproto/pds";
import plc from "@did-plc/server";
import { sentTo } from "../oidc.mjs";
import { Browser, freePort } from "../parts.mjs";

export async function pdsServer(t) {
  const { Database, PlcServer } = plc;
  const directory = PlcServer.create({ db: Database.mock(), port: await freePort() });
  await directory.start();
  const folder = mkdtempSync(join(tmpdir(), "pds-"));
  const port = await freePort();
  const env = {
    port,
    hostname: "localhost",
    devMode: true,
    dataDirectory: folder,
    blobstoreDiskLocation: join(folder, "blobs"),
    didPlcUrl: `http://localhost:${directory.port ?? directory.server.address().port}`,
    serviceHandleDomains: [".test"],
    inviteRequired: false,
    jwtSecret: randomBytes(32).toString("hex"),
    dpopSecret: randomBytes(32).toString("hex"),
    adminPassword: "admin",
    plcRotationKeyK256PrivateKeyHex: randomBytes(32).toString("hex"),
    logEnabled: false,
  };
  const pds = await PDS.create(envToCfg(env), envToSecrets(env));
  await pds.start();
  t.after(async () => {
    await pds.destroy();
    await directory.destroy();
    rmSync(folder, { recursive: true, force: true });
  });
  const origin = `http://localhost:${port}`;
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
    /** What the pages of its authorization endpoint do: sign in, then consent. */
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
