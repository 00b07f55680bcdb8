// A fresh token, call by call: this package, and hand-written code.
import { closeSync, fstatSync, openSync, promises, readFileSync, statSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { interleaved, report } from "./measure.mjs";
import { load, Scratch } from "./scratch.mjs";

const { getValidAccessToken } = load("index.js");
const scratch = new Scratch();
const rounds = Number(process.argv[2] ?? 60);

const unchanged = (now, then) =>
  now.mtimeMs === then.mtimeMs && now.ctimeMs === then.ctimeMs && now.size === then.size && now.nlink === then.nlink;

const contestants = {
  getValidAccessToken(profile) {
    const config = scratch.config(profile);
    return () => getValidAccessToken(config);
  },
  "(a) readFileSync + JSON.parse"(profile) {
    const file = scratch.file(profile);
    return async () => JSON.parse(readFileSync(file, "utf8")).access;
  },
  "(b) fs.promises.readFile + JSON.parse"(profile) {
    const file = scratch.file(profile);
    return async () => JSON.parse(await promises.readFile(file, "utf8")).access;
  },
  "(c) cache + statSync"(profile) {
    const file = scratch.file(profile);
    const [then, { access, expires }] = [statSync(file), JSON.parse(readFileSync(file, "utf8"))];
    return async () => (Date.now() < expires && unchanged(statSync(file), then) ? access : undefined);
  },
  "(d) cache + fstatSync"(profile) {
    const descriptor = openSync(scratch.file(profile), "r");
    opened.push(descriptor);
    const [then, { access, expires }] = [fstatSync(descriptor), JSON.parse(readFileSync(descriptor, "utf8"))];
    return async () => (Date.now() < expires && unchanged(fstatSync(descriptor), then) ? access : undefined);
  },
  "(e) cache that never looks"(profile) {
    const { access, expires } = JSON.parse(readFileSync(scratch.file(profile), "utf8"));
    return async () => (Date.now() < expires ? access : undefined);
  },
  "(f) empty async function"() {
    return async () => {};
  },
};
const opened = [];

/** Calls one after the other, or `together` promises at once, over all profiles in turn. */
function caller(calls, together) {
  if (together === 1) {
    return async (count) => {
      for (let call = 0; call < count; call += 1) await calls[call % calls.length]();
    };
  }
  return async (count) => {
    for (let done = 0; done < count; done += together) {
      const promises = new Array(together);
      for (let call = 0; call < together; call += 1) promises[call] = calls[call % calls.length]();
      await Promise.all(promises);
    }
  };
}

try {
  const names = Array.from({ length: 20 }, (_, number) => `profile-${number}`);
  for (const name of names) scratch.store(name);
  await pause(100);
  const results = [];
  for (const [profiles, together] of [
    [1, 1],
    [1, 1000],
    [20, 1],
  ]) {
    const made = Object.entries(contestants).map(([name, make]) => [name, names.slice(0, profiles).map(make)]);
    const subjects = Object.fromEntries(made.map(([name, calls]) => [name, caller(calls, together)]));
    const slow = "(b) fs.promises.readFile + JSON.parse";
    const { [slow]: asynchronous, ...rest } = subjects;
    const times = await interleaved(rest, { rounds, count: 2000 });
    Object.assign(times, await interleaved({ [slow]: asynchronous }, { rounds: 5, count: 1000, warmUp: 1 }));
    results.push({ profiles, together, times });
  }
  // How long the event loop is blocked: the part of a call before it returns its promise.
  const config = scratch.config(names[0]);
  const others = Array.from({ length: 40 }, (_, number) => `other-${number}`);
  const first = [];
  for (const other of others) scratch.store(other);
  await pause(100);
  for (const other of others) {
    const started = process.hrtime.bigint();
    const promise = getValidAccessToken(scratch.config(other));
    first.push(Number(process.hrtime.bigint() - started));
    await promise;
  }
  const blocked = await interleaved(
    {
      fresh: (count) => {
        for (let call = 0; call < count; call += 1) getValidAccessToken(config);
      },
      readFileSync: (count) => {
        for (let call = 0; call < count; call += 1) JSON.parse(readFileSync(scratch.file(names[0]), "utf8"));
      },
    },
    { rounds, count: 1000 },
  );
  report({ node: process.version, results, blocked: { ...blocked, first } });
} finally {
  for (const descriptor of opened) closeSync(descriptor);
  scratch.remove();
}
