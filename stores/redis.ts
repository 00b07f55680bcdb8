/** Logins in Redis or Valkey, for several machines that share one. */
import { randomUUID } from "node:crypto";
import { hearing } from "./hearing.ts";
import { beforeNextTry, held, renewed } from "./lock-renewal.ts";
import {
  clockCheck,
  peer,
  problem,
  type SharedStore,
  type SharedStoreOptions,
  type StoreCheck,
  sealed,
  within,
} from "./shared-store.ts";
import { StoreError } from "./store-error.ts";

export interface RedisStoreOptions extends SharedStoreOptions {
  /**
   * `redis://user:password@host:6379/0`, `rediss://…` with TLS. Without a password in it, the variables
   * `REDIS_USERNAME` and `REDIS_PASSWORD` or `REDISCLI_AUTH` count. @default the variable `REDIS_URL`, else localhost
   */
  url?: string | undefined;
  /** Further options of node-redis' `createClient`: `socket`, `username`, `password`, … */
  client?: Record<string, unknown> | undefined;
  /** The prefix of all keys. @default "plugin_auth:" */
  prefix?: string | undefined;
  /**
   * How long a lock outlives a holder that was killed, in milliseconds; it is renewed three times as often. @default
   * 10000
   */
  lockMs?: number | undefined;
}

// Redis runs a script as one step. A value is written if the key still has the version; every machine hears of it.
const WRITE = `
if (redis.call("HGET", KEYS[1], "version") or "") ~= ARGV[1] then return 0 end
redis.call("HSET", KEYS[1], "value", ARGV[2], "version", ARGV[3])
redis.call("PUBLISH", ARGV[4], ARGV[5])
return 1`;
// The commands that a login needs, on an unused key.
const TRY = `
redis.call("HSET", KEYS[1], "value", "", "version", "")
redis.call("HGETALL", KEYS[1])
redis.call("PUBLISH", ARGV[1], ARGV[2])
redis.call("DEL", KEYS[1])
return 1`;
const RENEW = `if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("PEXPIRE", KEYS[1], ARGV[2]) end return 0`;
const FREE = `if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) end return 0`;

// biome-ignore lint/suspicious/noExplicitAny: node-redis is a peer, which need not be installed for these types
type Client = any;

/** Make one for the life of the process. Connects at first use. */
export function redisStore(options: RedisStoreOptions = {}): SharedStore {
  const { prefix = "plugin_auth:", lockMs = 10_000, timeoutMs = 5_000, url = process.env.REDIS_URL } = options;
  const channel = `${prefix}changed`;
  const named = (key: string) => prefix + key;
  let connecting: Promise<Client> | undefined;
  const watches = new Set<() => Promise<void>>();
  let hasEnded = false;

  async function connect(): Promise<Client> {
    const { createClient } = await peer<{ createClient(options: object): Client }>(
      "redis",
      () => import("redis" as string),
    );
    const client = createClient({
      ...(url !== undefined && { url }),
      ...passwordFromEnvironment(url),
      ...options.client,
      name: "clawdbot-plugin-auth",
      // A command that waits for a connection which does not come back would keep its caller waiting.
      disableOfflineQueue: true,
      socket: {
        connectTimeout: timeoutMs,
        ...(options.client?.socket as object | undefined),
        reconnectStrategy: false,
      },
    });
    client.on("error", () => {});
    try {
      await within(client.connect(), { timeoutMs, code: "ETIMEDOUT" });
    } catch (error) {
      client.destroy?.();
      throw coded(error);
    }
    client.unref?.();
    return client;
  }
  /** Connects, again where the connection broke. */
  const ready = async (): Promise<Client> => {
    if (hasEnded) {
      throw new StoreError("STORE_ENDED", "end() was called on this store.");
    }
    const known = await connecting?.catch(() => undefined);
    if (known?.isReady) {
      return known;
    }
    connecting = connect();
    return await connecting;
  };
  const ask = async <Result>(run: (client: Client) => Promise<Result>): Promise<Result> => {
    try {
      return await within(run(await ready()), { timeoutMs });
    } catch (error) {
      throw coded(error);
    }
  };
  const script = (text: string, key: string, args: string[]) =>
    ask((client) => client.eval(text, { keys: [named(key)], arguments: args }) as Promise<number>);

  const engine: SharedStore = {
    async read(key) {
      const { value, version } = await ask<{ value?: string; version?: string }>((client) =>
        client.hGetAll(named(key)),
      );
      return value === undefined || version === undefined ? undefined : { value, version };
    },

    // A version is never used twice, also not by a replica that has become the primary and lost the last writes.
    async write(key, value, expected) {
      const version = randomUUID();
      const written = await script(WRITE, key, [expected ?? "", value, version, channel, key]);
      return written === 1 ? version : undefined;
    },

    async withLock(key, work, { signal }) {
      const lock = `lock:${key}`;
      const holder = randomUUID();
      const take = () => ask<string | null>((client) => client.set(named(lock), holder, { NX: true, PX: lockMs }));
      let since = performance.now();
      while ((await take()) === null) {
        await beforeNextTry(signal);
        since = performance.now();
      }
      const end = new AbortController();
      const renew = async () => (await script(RENEW, lock, [holder, `${lockMs}`])) === 1;
      try {
        await held(work, renewed(renew, { lockMs, since, signal: end.signal }));
      } finally {
        end.abort();
        await script(FREE, lock, [holder]).catch(() => {});
      }
    },

    async list(given) {
      return await ask(async (client) => {
        const found: string[] = [];
        for await (const keys of client.scanIterator({ MATCH: `${glob(named(given))}*`, COUNT: 1_000 })) {
          found.push(...[keys].flat());
        }
        return [...new Set(found)]
          .map((key) => key.slice(prefix.length))
          .filter((key) => !key.startsWith("lock:"))
          .sort();
      });
    },

    async watch(listener) {
      const stop = hearing(listener, async () => {
        const client = await connect();
        const broken = new Promise<never>((_, reject) => {
          client.on("error", reject);
          client.on("end", () => reject(new StoreError("CONNECTION_ENDED", "The connection has ended.")));
        });
        broken.catch(() => {});
        await within(
          client.subscribe(channel, (key: string) => listener.changed(key)),
          { timeoutMs },
        );
        return { broken, ping: () => client.ping(), close: () => client.destroy?.() };
      });
      watches.add(stop);
      return stop;
    },

    async inspect() {
      const checks: StoreCheck[] = [];
      const began = performance.now();
      const info = await ask<string>((client) => client.info());
      const took = performance.now() - began;
      const said = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, "m").exec(info)?.[1];
      const program = said("valkey_version") === undefined ? "Redis" : "Valkey";
      const version = said("valkey_version") ?? said("redis_version") ?? "of unknown version";
      checks.push({ name: "store", level: "ok", message: `${program} ${version}, answers in ${took.toFixed(0)} ms.` });
      if (said("role") === "slave") {
        checks.push(problem("This server is a replica and cannot be written.", "Give the address of the primary."));
      }
      await script(TRY, "lock:!doctor", [channel, "lock:!doctor"]).catch((error) => {
        // Redis 7.0 has no code for what a script may not do.
        if (!/NOPERM|can't (?:run|access)/.test((error as Error).message)) throw error;
        checks.push(
          problem(
            "This user may not read, write and publish.",
            `ACL SETUSER … ~${prefix}* &${channel} +@read +@write +@pubsub +@scripting +@connection`,
          ),
        );
      });
      const settings = await ask<Record<string, string>>((client) =>
        client.configGet(["appendonly", "appendfsync"]),
      ).catch(() => undefined);
      if (settings === undefined) {
        checks.push(
          problem(
            "The server does not say how durable it is (CONFIG is not allowed).",
            "Make sure of appendonly yes and appendfsync always.",
            "warning",
          ),
        );
      } else if (settings.appendonly !== "yes" || settings.appendfsync !== "always") {
        checks.push(
          problem(
            `appendonly is ${settings.appendonly}, appendfsync ${settings.appendfsync}: a crash of the server can lose the last refresh token, and with it the login.`,
            "Set appendonly yes and appendfsync always.",
            "warning",
          ),
        );
      }
      const eviction = said("maxmemory_policy");
      if (eviction?.startsWith("allkeys")) {
        checks.push(
          problem(
            `maxmemory-policy is ${eviction}: the server may throw logins away.`,
            "Set maxmemory-policy noeviction, or a volatile-… one.",
          ),
        );
      }
      const now = await ask<string[]>((client) => client.sendCommand(["TIME"]));
      checks.push(...clockCheck(Number(now[0]) * 1_000));
      return checks;
    },

    async end() {
      hasEnded = true;
      const client = await connecting?.catch(() => undefined);
      await Promise.all([...watches].map((stop) => stop()));
      client?.destroy?.();
    },
  };
  return sealed(engine, options);
}

function passwordFromEnvironment(url: string | undefined): object {
  const { REDIS_USERNAME: username, REDIS_PASSWORD, REDISCLI_AUTH } = process.env;
  const password = REDIS_PASSWORD ?? REDISCLI_AUTH;
  return password === undefined || (url !== undefined && new URL(url).password !== "")
    ? {}
    : { password, ...(username !== undefined && { username }) };
}

/** Characters that mean something to SCAN. */
function glob(text: string): string {
  return text.replace(/[\\*?[\]^]/g, "\\$&");
}

/** node-redis' own errors have no code, only a class. */
function coded(error: unknown): unknown {
  const { code, message = "" } = (error ?? {}) as Error & { code?: string };
  if (code !== undefined) {
    return error;
  }
  const [refusal] = /^[A-Z]{3,}\b/.exec(message) ?? [];
  const kind = Object.getPrototypeOf(error ?? {})?.constructor?.name ?? "Error";
  return Object.assign(new Error(message), { code: refusal ?? kind });
}
