// A fresh token as tools really ask for it: with a signal, with a config made at each call, as headers, by the kit's
// fetch; and what costs more, beside what others take for the same.
import { fork } from "node:child_process";
import { createHash, generateKeyPairSync, randomUUID, webcrypto } from "node:crypto";
import { once } from "node:events";
import { readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { interleaved, report } from "./measure.mjs";
import { load, Scratch } from "./scratch.mjs";

if (process.argv[2] === "service") {
  const server = createServer((request, response) => request.resume() && response.end("answer"));
  server.listen(0, "127.0.0.1", () => process.send(server.address().port));
} else {
  await compare(Number(process.argv[2] ?? 40));
}

async function compare(rounds) {
  const { authorizationHeaders, getValidAccessToken, listProfiles, status } = load("index.js");
  // Node 18 knows Web Crypto by a flag alone.
  globalThis.crypto ??= webcrypto;
  const [scratch, many, bound] = [new Scratch(), new Scratch(), new Scratch()];
  const service = fork(fileURLToPath(import.meta.url), ["service"]);
  try {
    const [port] = await once(service, "message");
    const file = scratch.store();
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const key = privateKey.export({ format: "der", type: "pkcs8" });
    bound.store("default", { more: { tokenType: "DPoP", dpopKey: key.toString("base64url") } });
    for (let number = 0; number < 1000; number += 1) many.store(`profile-${number}`);
    const gone = Array.from({ length: 19 }, (_, number) => `gone-${number}`);
    for (const name of gone) scratch.logOut(name);
    await pause(100);

    const config = scratch.config();
    const boundConfig = bound.config();
    const made = () => ({ ...scratch.config(), scopes: ["memory", "offline_access"] });
    const { signal } = new AbortController();
    const request = { method: "GET", url: "https://api.example.com/notes?q=1" };
    const { access } = JSON.parse(readFileSync(file, "utf8"));
    const then = statSync(file);
    const isUnchanged = (now) =>
      now.mtimeMs === then.mtimeMs &&
      now.ctimeMs === then.ctimeMs &&
      now.size === then.size &&
      now.nlink === then.nlink;
    const fast = await interleaved(
      calls({
        "cache + statSync": async () => (isUnchanged(statSync(file)) ? access : undefined),
        "getValidAccessToken(config)": () => getValidAccessToken(config),
        "getValidAccessToken(config, { signal })": () => getValidAccessToken(config, { signal }),
        "getValidAccessToken(config, {})": () => getValidAccessToken(config, {}),
        "getValidAccessToken(config, { rejectedToken }), of another token": () =>
          getValidAccessToken(config, { rejectedToken: "another" }),
        "getValidAccessToken, a config object made at each call": () => getValidAccessToken(made()),
        "getValidAccessToken, the same for 20 accounts in turn": (call) =>
          getValidAccessToken({ ...many.config(`profile-${call % 20}`), scopes: ["memory"] }),
        "authorizationHeaders, bearer": () => authorizationHeaders(config, request),
        "authorizationHeaders, bearer, { signal }": () => authorizationHeaders(config, request, { signal }),
        status: () => status(config),
      }),
      { rounds, count: 1000 },
    );

    const proofs = await interleaved(
      calls({
        "authorizationHeaders, with a proof (DPoP)": () => authorizationHeaders(boundConfig, request),
        ...(await provers(publicKey, key)),
      }),
      { rounds, count: 100 },
    );

    const { profile: _, ...base } = scratch.config();
    const one = { ...base, order: ["default"] };
    const order = { ...base, order: [...gone, "default"] };
    const accounts = await interleaved(
      calls({
        "status of one account": () => status(one),
        "status of an order of 20, 19 logged out": () => status(order),
        "getValidAccessToken of one account": () => getValidAccessToken(one),
        "getValidAccessToken of an order of 20, 19 logged out": () => getValidAccessToken(order),
      }),
      { rounds, count: 100 },
    );
    const list = await interleaved(
      { "listProfiles of 1,000": () => listProfiles(many.config()) },
      { rounds: 11, count: 1, warmUp: 2 },
    );
    report({ fast, proofs, accounts, list, fetches: await fetches(scratch, port, rounds) });
  } finally {
    service.kill();
    for (const folder of [scratch, many, bound]) folder.remove();
  }
}

/** One after the other. */
function calls(subjects) {
  const repeated = (call) => async (count) => {
    for (let number = 0; number < count; number += 1) await call(number);
  };
  return Object.fromEntries(Object.entries(subjects).map(([name, call]) => [name, repeated(call)]));
}

/** The same proof by other libraries, each in its usual way. */
async function provers(publicKey, key) {
  const { generateProof } = await import("dpop");
  const { SignJWT } = await import("jose");
  const algorithm = { name: "ECDSA", namedCurve: "P-256" };
  const { subtle } = webcrypto;
  const jwk = publicKey.export({ format: "jwk" });
  const pair = {
    privateKey: await subtle.importKey("pkcs8", key, algorithm, false, ["sign"]),
    publicKey: await subtle.importKey("jwk", jwk, algorithm, true, ["verify"]),
  };
  const token = "a".repeat(800);
  const [htm, htu] = ["GET", "https://api.example.com/notes"];
  const header = { typ: "dpop+jwt", alg: "ES256", jwk: { kty: jwk.kty, crv: jwk.crv, x: jwk.x, y: jwk.y } };
  return {
    "dpop: generateProof": () => generateProof(pair, htu, htm, undefined, token),
    "jose: SignJWT": () => {
      const ath = createHash("sha256").update(token).digest("base64url");
      return new SignJWT({ htm, htu, ath, jti: randomUUID() })
        .setProtectedHeader(header)
        .setIssuedAt()
        .sign(pair.privateKey);
    },
  };
}

/** The kit's `fetch`, and the platform's with the same headers. */
async function fetches(scratch, port, rounds) {
  const { pluginAuth } = load("dist/index.js");
  const { profile: _, ...options } = scratch.config();
  const auth = pluginAuth({ id: "bench", logger: console }, { ...options, keepFresh: false });
  const url = `http://127.0.0.1:${port}/notes?q=1`;
  const headers = { accept: "application/json" };
  const bearer = { ...headers, Authorization: `Bearer ${"a".repeat(800)}` };
  // One of its own for each call, as tools have it.
  const signal = () => new AbortController().signal;
  const read = (ask) => async () => (await ask()).text();
  return interleaved(
    calls({
      fetch: read(() => fetch(url, { headers: bearer })),
      "the kit's fetch": read(() => auth.fetch(url, { headers })),
      "fetch, { signal }": read(() => fetch(url, { headers: bearer, signal: signal() })),
      "the kit's fetch, { signal }": read(() => auth.fetch(url, { headers, signal: signal() })),
    }),
    // Short rounds, and many: what else the machine does lasts longer than one.
    { rounds: 5 * rounds, count: 20 },
  );
}
