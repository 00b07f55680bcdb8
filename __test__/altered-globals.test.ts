/** Code of others in the same process changes globals: no callback from native code throws, every promise settles. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { AuthorizationServer } from "./support/authorization-server.ts";
import { Child } from "./support/child.ts";
import { configFor } from "./support/login.ts";
import { nodeMajors } from "./support/nodes.ts";
import { Person } from "./support/person.ts";
import { TempHome } from "./support/temp-home.ts";

const fails = '() => { throw new Error("altered") }';
const alterations: Record<string, string> = {
  "Error.prepareStackTrace gives call sites": "Error.prepareStackTrace = (_, sites) => sites",
  "Error.prepareStackTrace throws": `Error.prepareStackTrace = ${fails}`,
  "Error.stackTraceLimit is no number": "Error.stackTraceLimit = undefined",
  "Error.stackTraceLimit is 0": "Error.stackTraceLimit = 0",
  "Error.captureStackTrace is gone": "delete Error.captureStackTrace",
  "Object.keys throws": `Object.keys = ${fails}`,
  "strings do not split": `String.prototype.split = String.prototype.slice = String.prototype.indexOf = ${fails}`,
  "arrays do not iterate": `Array.prototype.map = Array.prototype.every = Array.prototype.join = ${fails}`,
  "Promise is another": "globalThis.Promise = class extends Promise {}",
  "Promise is gone": "globalThis.Promise = undefined",
  "promises do not chain": `Promise.prototype.catch = Promise.prototype.finally = Promise.resolve = ${fails}`,
  "process.emitWarning throws": `process.emitWarning = ${fails}`,
  "process.emitWarning is gone": "process.emitWarning = undefined",
  "AbortController is gone": "globalThis.AbortController = undefined",
  "timers are gone": "globalThis.setTimeout = globalThis.clearTimeout = undefined",
  "no timer of any kind is left":
    "globalThis.setTimeout = globalThis.clearTimeout = globalThis.setImmediate = globalThis.clearImmediate = undefined",
  "timers throw": `globalThis.setTimeout = globalThis.setImmediate = ${fails}`,
  "timers are numbers": "globalThis.setTimeout = globalThis.setImmediate = () => 1",
  "patterns do not match": `RegExp.prototype.test = RegExp.prototype.exec = ${fails}`,
  "Date and Math throw": `Date.now = Math.max = Math.min = ${fails}`,
  "process.uptime throws": `process.uptime = ${fails}`,
  "Buffer is gone": "globalThis.Buffer = undefined",
  "JSON throws": `JSON.stringify = JSON.parse = ${fails}`,
};

/** Nothing works without these: every call reports that to its caller, and the process goes on. */
const indispensable: Record<string, string> = {
  "maps do not iterate": `Map.prototype.values = Map.prototype.entries = Map.prototype[Symbol.iterator] = ${fails}`,
  "maps throw": `Map.prototype.get = Map.prototype.set = Map.prototype.has = Map.prototype.delete = ${fails}`,
  "weak maps throw": `WeakMap.prototype.get = WeakMap.prototype.set = ${fails}`,
  "arrays do not spread": `Array.prototype[Symbol.iterator] = ${fails}`,
  "FinalizationRegistry is gone": "globalThis.FinalizationRegistry = globalThis.WeakRef = undefined",
  "typed arrays are gone": "globalThis.Uint8Array = globalThis.Int32Array = globalThis.Float64Array = undefined",
  "process.on throws": `process.on = process.once = ${fails}`,
  "Symbol.for throws": `Symbol.for = ${fails}`,
  "Object.defineProperty throws": `Object.defineProperty = Object.assign = Object.freeze = ${fails}`,
};

describe("altered globals", { concurrency: 4 }, () => {
  for (const [name, code] of Object.entries(alterations)) {
    for (const when of ["before", "after"] as const) {
      test(`${name}, ${when} the package is loaded`, (t) => lives(t, { when, code }));
    }
  }

  for (const [name, code] of Object.entries(indispensable)) {
    test(`${name}: every call settles, and the process ends by itself`, async (t) => {
      const child = await started(t, { when: "after", code });
      child.event("verification").then(
        ({ url }) => new Person().approve(String(url)),
        () => {},
      );
      for (const call of ["rejected", "resolved", "fresh", "given store", "callbacks"]) await child.event(call);
      assert.deepEqual(await child.exit, { code: 0, signal: null }, child.stderr);
    });
  }

  for (const node of nodeMajors) {
    test(`Node ${node}: frozen intrinsics`, (t) =>
      lives(t, { when: "never", code: "" }, { node, nodeOptions: ["--frozen-intrinsics"] }));
    test(`Node ${node}: Error.prepareStackTrace gives call sites`, (t) =>
      lives(t, { when: "before", code: "Error.prepareStackTrace = (_, sites) => sites" }, { node }));
  }
});

type Test = Parameters<typeof TempHome.create>[0];
type Options = Partial<Parameters<typeof Child.start>[2]>;

async function started(t: Test, alteration: { when: string; code: string }, options: Options = {}): Promise<Child> {
  const server = await AuthorizationServer.start(t);
  const home = TempHome.create(t);
  const given = { ...alteration, config: configFor(server, home.stateDir) };
  return Child.start(t, "altered-globals.mjs", { env: home.env(), args: [JSON.stringify(given)], ...options });
}

async function lives(t: Test, alteration: { when: string; code: string }, options: Options = {}): Promise<void> {
  const child = await started(t, alteration, options);
  const told = { code: "LOGIN_REQUIRED", isAuthError: true };
  const { said: _, ...rejected } = await child.event("rejected");
  assert.deepEqual(rejected, { event: "rejected", ...told }, child.stderr);
  assert.deepEqual(await child.event("resolved"), { event: "resolved" });
  assert.deepEqual(await child.event("fresh"), { event: "fresh", token: "one" });
  const { said, ...refused } = await child.event("given store");
  assert.deepEqual(refused, { event: "given store", code: "STORE_IO", isAuthError: true }, String(said));
  await new Person().approve(String((await child.event("verification")).url));
  assert.deepEqual(await child.event("callbacks"), { event: "callbacks" });
  assert.deepEqual(await child.exit, { code: 0, signal: null }, child.stderr);
}
