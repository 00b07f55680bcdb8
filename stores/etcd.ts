/** Logins in etcd, for several machines that share one. */
import { setTimeout as pause } from "node:timers/promises";
import { peer, type SharedStore, type SharedStoreOptions, type StoreCheck, sealed, within } from "./shared-store.ts";
import { StoreError } from "./store-error.ts";

export interface EtcdStoreOptions extends SharedStoreOptions {
  /** @default the variable ETCDCTL_ENDPOINTS, else "http://127.0.0.1:2379" */
  hosts?: string | string[];
  /** Further options of `etcd3`: `credentials`, `auth`, … */
  client?: Record<string, unknown>;
  /** What the names of all keys begin with. @default "plugin_auth/" */
  prefix?: string;
  /** How long a lock outlives a holder that was killed, in seconds. @default 10 */
  lockSeconds?: number;
}

// biome-ignore lint/suspicious/noExplicitAny: `etcd3` is a peer, which need not be installed for these types
type Client = any;

/**
 * Each request once. By default the client repeats them, and a conditional write that was carried out before its answer got lost
 * would then be taken for another's; and it gives up a host for seconds after three failures, also when that is back.
 */
const once = {
  execute: async <Result>(run: (context: object) => Result, signal?: AbortSignal) =>
    run({ signal: signal ?? new AbortController().signal, attempt: 0 }),
};

/** Make one for the life of the process. Connects at first use. */
export function etcdStore(options: EtcdStoreOptions = {}): SharedStore {
  const { prefix = "plugin_auth/", lockSeconds = 10, timeoutMs = 5_000 } = options;
  const hosts = options.hosts ?? process.env.ETCDCTL_ENDPOINTS?.split(",") ?? "http://127.0.0.1:2379";
  let connecting: Promise<Client> | undefined;

  const ready = (): Promise<Client> => {
    connecting ??= peer<{ Etcd3: new (options: object) => Client }>("etcd3", () => import("etcd3" as string))
      .then(
        ({ Etcd3 }) =>
          new Etcd3({
            hosts,
            dialTimeout: timeoutMs,
            faultHandling: { global: once, host: () => once },
            ...options.client,
          }),
      )
      .catch((error) => {
        connecting = undefined;
        throw error;
      });
    return connecting;
  };
  const ask = async <Result>(run: (client: Client) => Promise<Result>): Promise<Result> => {
    try {
      return await within(run(await ready()), { timeoutMs });
    } catch (error) {
      throw coded(error);
    }
  };

  const engine: SharedStore = {
    // The version is the revision of the whole cluster at which the key was written: etcd never gives one twice.
    async read(key) {
      const { kvs } = await ask<{ kvs: { value: Buffer; mod_revision: string }[] }>((client) =>
        client.get(prefix + key).exec(),
      );
      const [kept] = kvs;
      return kept && { value: kept.value.toString(), version: kept.mod_revision };
    },

    async write(key, value, expected) {
      const { succeeded, header } = await ask<{ succeeded: boolean; header: { revision: string } }>((client) => {
        const compared =
          expected === undefined
            ? client.if(prefix + key, "Create", "==", 0)
            : client.if(prefix + key, "Mod", "==", Number(expected));
        return compared.then(client.put(prefix + key).value(value)).commit();
      });
      return succeeded ? header.revision : undefined;
    },

    // The lock is a key of a lease, which ends with its holder.
    async withLock(key, work, { signal }) {
      const client = await ready();
      const lease = client.lease(lockSeconds, { autoKeepAlive: true });
      const lost = new Promise<never>((_, reject) => {
        lease.on("lost", () => reject(new StoreError("LOCK_LOST", "The lock has ended while it was held.")));
      });
      lost.catch(() => {});
      const name = `${prefix}lock:${key}`;
      const take = async () => {
        const id: string = await lease.grant();
        const { succeeded } = await client
          .if(name, "Create", "==", 0)
          .then(client.put(name).value(id).lease(id))
          .commit();
        return succeeded as boolean;
      };
      try {
        while (!(await within(take(), { signal, timeoutMs }).catch((error) => Promise.reject(coded(error))))) {
          signal.throwIfAborted();
          await pause(25 + Math.random() * 50, undefined, { signal });
        }
        await Promise.race([work(), lost]);
      } finally {
        // Ends the lease, and with it the lock.
        await within(lease.revoke(), { timeoutMs }).catch(() => lease.release?.());
      }
    },

    async list(given) {
      const keys = await ask<string[]>((client) =>
        client
          .getAll()
          .prefix(prefix + given)
          .keys(),
      );
      return keys
        .map((key) => key.slice(prefix.length))
        .filter((key) => !key.startsWith("lock:"))
        .sort();
    },

    async watch(listener) {
      const client = await ready();
      const watcher = client.watch().prefix(prefix).watcher();
      watcher.on("put", ({ key }: { key: Buffer }) => listener.changed(key.toString().slice(prefix.length)));
      watcher.on("connected", () => listener.live(true));
      watcher.on("disconnected", () => listener.live(false));
      watcher.on("error", () => listener.live(false));
      return async () => {
        await watcher.cancel().catch(() => {});
      };
    },

    async inspect() {
      const checks: StoreCheck[] = [];
      const began = performance.now();
      const { version, errors = [] } = await ask<{ version: string; errors?: string[] }>((client) =>
        client.maintenance.status(),
      );
      const took = performance.now() - began;
      checks.push({
        name: "store",
        level: "ok",
        message: `etcd ${version}, answers in ${took.toFixed(0)} ms. It writes to disk before it answers.`,
      });
      if (errors.length > 0) {
        checks.push({
          name: "store",
          level: "error",
          message: "The cluster reports an alarm.",
          fix: "Look at etcdctl alarm list.",
        });
      }
      return checks;
    },

    async end() {
      (await connecting?.catch(() => undefined))?.close();
    },
  };
  return sealed(engine, options);
}

/** Its errors have a class each, such as GRPCUnavailableError. */
function coded(error: unknown): unknown {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: string };
  if (typeof code === "string") {
    return error;
  }
  const kind = Object.getPrototypeOf(error ?? {})?.constructor?.name ?? "Error";
  return Object.assign(new Error(message), { code: kind });
}
