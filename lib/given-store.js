"use strict";

// A plugin's own store: the addon knows it by a number, and calls its functions through this file. Nobody could catch
// an error on the way back to native code, so every failure becomes an answer.

/** The config as the addon takes it. */
function numbered({ native, stores }, config) {
  const store = config?.store;
  if (store === undefined) return config;
  const isOne =
    typeof store === "object" &&
    store !== null &&
    typeof store.read === "function" &&
    typeof store.write === "function" &&
    typeof store.withLock === "function";
  // Anything that is not a store the addon refuses with a proper message.
  if (!isOne) return { ...config, store: null };
  if (!stores.has(store)) stores.set(store, give(native, store));
  const number = stores.get(store);
  if (typeof store.watch === "function") listen(native, store, number);
  return { ...config, store: number };
}

/** Stores that report changes, with the timer that ends it, and what does. */
const listening = new Map();

/** How long a store that nobody uses reports changes, in milliseconds. */
const IDLE = 60_000;

function listen(native, store, number) {
  const known = listening.get(store);
  if (known !== undefined) {
    // Where others have replaced the timers, one may be a number.
    known.timer.refresh?.();
    return;
  }
  let isOver = false;
  let stop;
  const end = () => {
    isOver = true;
    settle(async () => clearTimeout(timer), ignore);
    listening.delete(store);
    native.storeIsLive(number, false);
    settle(async () => await stop?.(), ignore);
  };
  let timer;
  try {
    timer = setTimeout(end, IDLE);
    timer.unref?.();
  } catch {
    // Nothing would end the watch: a value that was read holds for a second, as in stores that report no changes.
    return;
  }
  listening.set(store, { timer, end });
  const live = (isLive) => native.storeIsLive(number, isLive === true && !isOver);
  const listener = { live, changed: (key) => typeof key === "string" && native.storeHasChanged(number, key) };
  settle(
    async () => {
      stop = await store.watch(listener);
      if (isOver) await stop?.();
    },
    () => live(false),
  );
}

/** Nobody is to report changes any more, until the next call. */
function endListening() {
  for (const { end } of [...listening.values()]) end();
}

function ignore() {}

/** The doctor's report, with what the store says of its engine. */
async function inspected(report, store) {
  const { checks, ...rest } = await report;
  let found = [];
  try {
    found = [...(await store.inspect())];
  } catch (error) {
    const message = `The store could not be asked (${nameOf(error)}).`;
    found = [{ name: "store", level: "error", message, fix: "See that its server runs and can be reached from here." }];
  }
  const ok = rest.ok && found.every(({ level }) => level !== "error");
  return { ...rest, ok, checks: [...checks, ...found] };
}

/** Stores that native code may ask, with the number of their calls under way. */
const inUse = new Map();

/** Native code keeps a number only: while a call is under way its store is kept here, and else by the plugin alone. */
function use(config) {
  const store = config?.store;
  if (typeof store === "object" && store !== null) inUse.set(store, (inUse.get(store) ?? 0) + 1);
}

/** Called when a call has ended. Its refresh may still have to be saved. */
async function release(image, config) {
  const store = config?.store;
  if (!inUse.has(store)) return;
  try {
    await image.settled(SETTLING);
  } catch {}
  const uses = inUse.get(store) - 1;
  if (uses > 0) inUse.set(store, uses);
  else inUse.delete(store);
}

/** Longer than any refresh is between sent and saved unless its store fails, in milliseconds. */
const SETTLING = 120_000;

/** From this number on, a plugin must be making one for each call. */
const MANY = 100;
let made = 0;

/** Tells native code to forget stores that are unreachable. */
const unreachable = new FinalizationRegistry(({ native, number }) => native.forgetStore(number));

function give(native, given) {
  made += 1;
  if (made === MANY) {
    process.emitWarning(
      `${MANY} objects were given as \`store\` to clawdbot-plugin-auth. Make one and use it for every call: each new one is read and locked as another store.`,
      "AuthWarning",
    );
  }
  const locks = new Map();
  // The plugin may be unloaded, and its registration with it: native code must not keep that alive.
  const reference = new WeakRef(given);
  const number = native.giveStore((what, parts) => {
    const request = +parts[0];
    const answer = (...answered) => native.answerStore(number, request, answered);
    settle(
      () =>
        asks[what]({ store: reference.deref(), request, answer, key: parts[1], value: parts[2], expected: parts[3] }),
      // Not its words: they may hold the password of a database.
      (error) => answer("failed", nameOf(error)),
    );
  });

  const asks = {
    async read({ store, key, answer }) {
      const kept = await store.read(key);
      if (kept === undefined || kept === null) answer("nothing");
      else if (typeof kept.value !== "string" || typeof kept.version !== "string") answer("malformed");
      else answer("value", kept.value, kept.version);
    },

    async write({ store, key, value, expected, answer }) {
      const version = await store.write(key, value, expected);
      if (version === undefined || version === null) answer("nothing");
      else if (typeof version === "string") answer("version", version);
      else answer("malformed");
    },

    async list({ store, key, answer }) {
      if (typeof store.list !== "function") {
        answer("nothing");
        return;
      }
      const keys = await store.list(key);
      if (Array.isArray(keys) && keys.every((one) => typeof one === "string")) answer("keys", ...keys);
      else answer("malformed");
    },

    async lock({ store, request, key, answer }) {
      // One that is asked for again is waited for a little longer.
      if (locks.has(request)) {
        locks.get(request).waitOn();
        return;
      }
      const controller = new AbortController();
      let timer;
      const letGo = () => controller.abort();
      const waitOn = () => {
        clearTimeout(timer);
        timer = setTimeout(letGo, 5_000);
        timer.unref?.();
      };
      locks.set(request, { waitOn, letGo });
      waitOn();
      const work = () =>
        new Promise((resolve) => {
          clearTimeout(timer);
          locks.set(request, { waitOn: () => {}, letGo: resolve });
          answer("granted");
        });
      try {
        await store.withLock(key, work, { signal: controller.signal });
        answer("ended");
      } finally {
        clearTimeout(timer);
        locks.delete(request);
      }
    },

    async unlock({ request }) {
      locks.get(request)?.letGo();
    },
  };

  unreachable.register(given, { native, number });
  return number;
}

// Neither throws nor rejects.
async function settle(work, failed) {
  try {
    await work();
  } catch (error) {
    try {
      failed(error);
    } catch {}
  }
}

function nameOf(error) {
  try {
    return /^[\w.-]{1,40}$/.exec(error?.code ?? error?.name ?? "")?.[0] ?? "Error";
  } catch {
    return "Error";
  }
}

module.exports = { endListening, inspected, numbered, release, use };
