/**
 * Odd servers as a general rule: whole logins and refreshes against generated answers, over real connections.
 *
 * Conforming, and so must pass: RFC 6749 §5.1 and RFC 8628 §3.2 as JSON objects (RFC 8259: any order of members, any
 * white space, any escapes, numbers as fraction or exponent), members that nobody knows, `token_type` in any case, and
 * `refresh_token`, `scope`, `expires_in` of a token, `interval` left out; RFC 9112: any content type, chunks of any
 * size. Beyond it, as real servers do: a BOM, Latin-1 named as the charset, numbers as strings, null for what is
 * missing.
 *
 * Broken in one place, and so must end in INVALID_RESPONSE with the login kept, in its new refresh token where there
 * is one: a required member that is missing, of another type or unusable.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { getValidAccessToken, login, status } from "../index.js";
import { configFor, expireLogin } from "./support/login.ts";
import { quickDevice } from "./support/provider-stub.ts";
import { rejection } from "./support/rejection.ts";
import { type StubAnswer, StubServer } from "./support/stub-server.ts";
import { TempHome } from "./support/temp-home.ts";

/** Repeatable chance: the same seed makes the same servers. */
class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  below(limit: number): number {
    // Numerical Recipes' linear congruential generator; its high bits are good enough for this.
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((this.#state / 2 ** 32) * limit);
  }

  one<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)] as Item;
  }

  yes(): boolean {
    return this.below(2) === 0;
  }
}

const anything = [null, true, -1, 1e300, "", "\u202e", [], [[]], { error: "access_denied" }, { access_token: "no" }];

/** The members as JSON in one of the many ways to write them; undefined ones are left out or null. */
function written(chance: Chance, members: Record<string, unknown>): string {
  const space = chance.one(["", " ", "\r\n\t"]);
  const value = (given: unknown): string => {
    if (typeof given === "number") {
      return chance.one([`${given}`, `${given}.0`, `${given}e0`, `"${given}"`]);
    }
    const json = JSON.stringify(given);
    const escaped = (c: string) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`;
    return typeof given === "string" && chance.yes() ? json.replaceAll(/[a-z/:]/g, escaped) : json;
  };
  const known = Object.entries(members).flatMap(([name, given]) =>
    given !== undefined ? [`"${name}"${space}:${space}${value(given)}`] : chance.yes() ? [`"${name}":null`] : [],
  );
  const all = known.concat(
    Array.from({ length: chance.below(4) }, (_, n) => `"x_${n}":${JSON.stringify(chance.one(anything))}`),
  );
  const shuffled = all.map((text) => ({ text, at: chance.below(1000) })).sort((a, b) => a.at - b.at);
  return `${chance.one(["", "\ufeff"])}${space}{${shuffled.map(({ text }) => text).join(`${space},`)}}${space}`;
}

function answered(chance: Chance, text: string): StubAnswer {
  const type = chance.one([
    "content-type: application/json;charset=UTF-8\r\n",
    "content-type: text/plain; charset=iso-8859-1\r\n",
    "Content-Type: text/html\r\n",
    "CONTENT-TYPE: application/vnd.odd+json\r\nX-Odd: \u0009 yes\r\n",
    "",
  ]);
  const bytes = Buffer.from(text);
  const head = `HTTP/1.1 200 ${chance.one(["OK", "", "Fine"])}\r\n${type}Connection: close\r\n`;
  if (chance.yes()) {
    return { bytes: Buffer.concat([Buffer.from(`${head}Content-Length: ${bytes.length}\r\n\r\n`), bytes]) };
  }
  const chunks: Buffer[] = [Buffer.from(`${head}Transfer-Encoding: chunked\r\n\r\n`)];
  for (let at = 0; at < bytes.length; ) {
    const chunk = bytes.subarray(at, at + 1 + chance.below(60));
    chunks.push(Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from("\r\n"));
    at += chunk.length;
  }
  return { bytes: Buffer.concat([...chunks, Buffer.from("0\r\n\r\n")]) };
}

const alphabet = "ABCxyz0189-._~+/=:!$&'()*,;@%^`{|}";

function token(chance: Chance): string {
  return Array.from({ length: 1 + chance.below(40) }, () => chance.one([...alphabet])).join("");
}

function tokens(chance: Chance) {
  return {
    access_token: token(chance),
    token_type: chance.one(["Bearer", "bearer", "BEARER", undefined]),
    expires_in: chance.one([3600, 86_400, undefined]),
    refresh_token: chance.one([token(chance), undefined]),
    scope: chance.one(["memory", "memory offline_access", undefined]),
  };
}

describe("odd servers", { concurrency: 16 }, () => {
  for (let seed = 1; seed <= 48; seed += 1) {
    test(`a conforming one (${seed})`, async (t) => {
      const chance = new Chance(seed);
      const { stub, config, path } = await started(t);
      const device = {
        device_code: token(chance),
        user_code: chance.one(["ABCD-EFGH", "1234", "a b c"]),
        verification_uri: "https://login.example/device",
        verification_uri_complete: chance.one(["https://login.example/device?c=1", undefined]),
        expires_in: 600,
        interval: 1,
      };
      const [first, second] = [tokens(chance), tokens(chance)];
      stub.route("/device", answered(chance, written(chance, device)));
      stub.route("/token", answered(chance, written(chance, first)));
      const shown: string[] = [];
      await login(config, {
        onVerification: ({ userCode, verificationUri }) => void shown.push(userCode, verificationUri),
      });
      assert.deepEqual(shown, [device.user_code, device.verification_uri]);
      assert.equal(stub.requestsOf("/token")[0]?.form.get("device_code"), device.device_code);
      assert.equal(await getValidAccessToken(config), first.access_token);
      if (first.refresh_token === undefined) return;

      await expireLogin(config);
      stub.route("/token", answered(chance, written(chance, second)));
      assert.equal(await getValidAccessToken(config), second.access_token);
      assert.equal(stub.requestsOf("/token")[1]?.form.get("refresh_token"), first.refresh_token);
      const { refresh } = JSON.parse(readFileSync(path, "utf8"));
      assert.equal(refresh, second.refresh_token ?? first.refresh_token);
    });

    test(`one that is broken in one place (${seed})`, async (t) => {
      const chance = new Chance(seed);
      const { stub, config, path } = await started(t);
      stub.route("/device", quickDevice);
      stub.route("/token", { status: 200, body: { access_token: "honest", refresh_token: "kept", expires_in: 3600 } });
      await login(config, { onVerification: () => {} });
      await expireLogin(config);

      const unusable = chance.one([undefined, 5, true, ["a"], { a: "b" }, "a b", "a\u0000", "é", ""]);
      const broken = chance.yes()
        ? { ...tokens(chance), access_token: unusable }
        : { ...tokens(chance), token_type: chance.one(["mac", "DPoP", ["Bearer"], 1]) };
      // The numbers of what is broken stay numbers.
      stub.route("/token", { status: 200, body: broken });
      await rejection(getValidAccessToken(config), "INVALID_RESPONSE");
      const { access, refresh } = JSON.parse(readFileSync(path, "utf8"));
      // Nothing of it is handed out; a new refresh token is the only one that a server that rotates still knows.
      const kept = broken.refresh_token ?? "kept";
      assert.deepEqual([access, refresh], ["honest", kept]);
      assert.notEqual((await status(config)).state, "login_required");

      const device = { device_code: "d", user_code: "c", verification_uri: "https://a.example/", expires_in: 600 };
      const member = chance.one(["device_code", "user_code", "verification_uri"] as const);
      stub.route("/device", { status: 200, body: { ...device, [member]: chance.one([undefined, [], {}, "", true]) } });
      await rejection(login(config, { onVerification: () => assert.fail("shown") }), "INVALID_RESPONSE");
      assert.equal(JSON.parse(readFileSync(path, "utf8")).refresh, kept);
    });
  }
});

async function started(t: Parameters<typeof TempHome.create>[0]) {
  const home = TempHome.create(t);
  const stub = await StubServer.start(t);
  stub.describe();
  return {
    stub,
    config: configFor({ issuer: stub.origin } as never, home.stateDir),
    path: home.credentialPath("memory"),
  };
}
