/** Logins in etcd, for several machines that share one. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { createInterface } from "node:readline";
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

export interface EtcdStoreOptions extends SharedStoreOptions {
  /** @default the variable ETCDCTL_ENDPOINTS, else "http://127.0.0.1:2379" */
  hosts?: string | string[] | undefined;
  /**
   * Further options of `etcd3`: `credentials`, `auth`, … Without these two the variables of etcdctl count:
   * `ETCDCTL_CACERT`, `ETCDCTL_CERT` and `ETCDCTL_KEY` (files), `ETCDCTL_USER` (`name:password`, or the name beside
   * `ETCDCTL_PASSWORD`).
   */
  client?: Record<string, unknown> | undefined;
  /** The prefix of all keys. @default "plugin_auth/" */
  prefix?: string | undefined;
  /** How long a lock outlives a holder that was killed, in seconds. @default 10 */
  lockSeconds?: number | undefined;
}

// biome-ignore lint/suspicious/noExplicitAny: `etcd3` is a peer, which need not be installed for these types
type Client = any;

/**
 * Each request once. By default the client repeats them, and a conditional write that was carried out before its
 * answer got lost would then be taken for another's; and it gives up a host for seconds after three failures, also
 * when that is back.
 */
const eachOnce = {
  execute: async <Result>(run: (context: object) => Result, signal?: AbortSignal) =>
    run({ signal: signal ?? new AbortController().signal, attempt: 0 }),
};

/** Make one for the life of the process. Connects at first use. */
export function etcdStore(options: EtcdStoreOptions = {}): SharedStore {
  const { prefix = "plugin_auth/", lockSeconds = 10, timeoutMs = 5_000 } = options;
  const hosts = options.hosts ?? process.env.ETCDCTL_ENDPOINTS?.split(",") ?? "http://127.0.0.1:2379";
  let access: Access | undefined;
  let connecting: Promise<Client> | undefined;
  const watches = new Set<() => Promise<void>>();

  /** Read at first use, so that a file that is missing fails a call. */
  const gained = (): Access => {
    access ??= accessOf((options.client ?? {}) as Access);
    return access;
  };
  const ready = (): Promise<Client> => {
    connecting ??= peer<{ Etcd3: new (options: object) => Client }>("etcd3", () => import("etcd3" as string))
      .then(
        ({ Etcd3 }) =>
          new Etcd3({
            hosts,
            dialTimeout: timeoutMs,
            faultHandling: { global: eachOnce, host: () => eachOnce },
            ...options.client,
            ...gained(),
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
      // Kept alive here: after a broken connection the client's own way may do so twice, and end only one of them.
      const lease = client.lease(lockSeconds, { autoKeepAlive: false });
      const end = new AbortController();
      const renew = () =>
        lease.keepaliveOnce().then(
          () => true,
          (error: unknown) => {
            if (lease.revoked()) return false;
            throw error;
          },
        );
      const lost = renewed(renew, { lockMs: lockSeconds * 1_000, since: performance.now(), signal: end.signal });
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
          await beforeNextTry(signal);
        }
        await held(work, lost);
      } finally {
        end.abort();
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
      const stop = hearing(listener, async () => {
        const { broken, close } = await watchRange({ hosts, prefix, access: gained(), timeoutMs }, (key) =>
          listener.changed(key.slice(prefix.length)),
        );
        return { broken, close, ping: () => ask((client) => client.get(`${prefix}lock:`).exec()) };
      });
      watches.add(stop);
      return stop;
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
      // Rights are looked at for all that a transaction may do, also for what this one never does.
      await ask((client) =>
        client
          .if(`${prefix}lock:!doctor`, "Create", "==", 0)
          .and(`${prefix}lock:!doctor`, "Create", "!=", 0)
          .then(client.put(`${prefix}lock:!doctor`).value(""))
          .commit(),
      ).catch((error) => {
        if ((error as { code?: string }).code !== "EtcdPermissionDeniedError") throw error;
        checks.push(
          problem(
            "This user may not read and write the keys.",
            `etcdctl role grant-permission … --prefix=true readwrite ${prefix}`,
          ),
        );
      });
      const { response } = await gateway({ hosts, access: gained(), timeoutMs })("/v3/maintenance/status", {});
      response.destroy();
      const date = Date.parse(response.headers.date ?? "");
      if (!Number.isNaN(date)) checks.push(...clockCheck(date, took));
      return checks;
    },

    async end() {
      await Promise.all([...watches].map((stop) => stop()));
      (await connecting?.catch(() => undefined))?.close();
    },
  };
  return sealed(engine, options);
}

/**
 * How long one watch lasts, in milliseconds: where only its own connection was lost on the way, nothing else would
 * show it.
 */
const TURN = 30_000;

interface Way {
  hosts: string | string[];
  access: Access;
  timeoutMs: number;
}

interface Range extends Way {
  prefix: string;
}

/** TLS and the user, as `etcd3` takes them. */
interface Access {
  credentials?: { rootCertificate?: Buffer; privateKey?: Buffer; certChain?: Buffer };
  auth?: { username: string; password: string };
}

function accessOf({ credentials, auth }: Access, env = process.env): Access {
  const { ETCDCTL_CACERT: ca, ETCDCTL_CERT: cert, ETCDCTL_KEY: key, ETCDCTL_USER: user } = env;
  const [username = "", ...rest] = user?.split(":") ?? [];
  const password = rest.length > 0 ? rest.join(":") : (env.ETCDCTL_PASSWORD ?? "");
  const secure =
    credentials ??
    (ca || cert || key
      ? {
          ...(ca && { rootCertificate: readFileSync(ca) }),
          ...(key && { privateKey: readFileSync(key) }),
          ...(cert && { certChain: readFileSync(cert) }),
        }
      : undefined);
  const known = auth ?? (username === "" ? undefined : { username, password });
  return { ...(secure && { credentials: secure }), ...(known && { auth: known }) };
}

/** Asks one of the hosts by etcd's JSON gateway. */
function gateway({ hosts, access, timeoutMs }: Way) {
  const all = [hosts].flat();
  const host = all[Math.floor(Math.random() * all.length)] ?? "";
  const { rootCertificate: ca, privateKey: key, certChain: cert } = access.credentials ?? {};
  const url = new URL(/^https?:/.test(host) ? host : `${access.credentials ? "https" : "http"}://${host}`);
  const secure = { ...(ca && { ca }), ...(key && { key }), ...(cert && { cert }) };
  return async (path: string, body: object, headers: Record<string, string> = {}) => {
    const send = url.protocol === "https:" ? https.request : http.request;
    const request = send(new URL(path, url), { method: "POST", headers, agent: false, ...secure });
    // Waiters get the error another way; without a listener it would end the process.
    request.on("error", () => {});
    request.end(JSON.stringify(body));
    try {
      const [response] = (await within(once(request, "response"), { timeoutMs })) as [http.IncomingMessage];
      return { request, response };
    } catch (error) {
      request.destroy();
      throw error;
    }
  };
}

/**
 * Reports the written keys, by etcd's JSON gateway: a watch of gRPC would keep the process alive, and its connection
 * cannot be told not to. Resolves once the watch has begun.
 */
async function watchRange({ prefix, ...way }: Range, changed: (key: string) => void) {
  const { auth } = way.access;
  const post = gateway(way);
  const encoded = (text: string) => Buffer.from(text).toString("base64");
  const headers: Record<string, string> = {};
  if (auth !== undefined) {
    const { response } = await post("/v3/auth/authenticate", { name: auth.username, password: auth.password });
    const { token } = JSON.parse(Buffer.concat(await response.toArray()).toString()) as { token?: string };
    headers.authorization = token ?? "";
  }
  // A range ends before the first key that does not begin so.
  const end = Buffer.from(prefix);
  end[end.length - 1] = (end[end.length - 1] ?? 0) + 1;
  const range = { key: encoded(prefix), range_end: end.toString("base64") };
  const { request, response } = await post("/v3/watch", { create_request: range }, headers);
  request.socket?.unref();
  const turn = setTimeout(() => request.destroy(new StoreError("TURN_OVER", "The watch begins again.")), TURN);
  turn.unref();
  let begun = () => {};
  const created = new Promise<void>((resolve) => {
    begun = resolve;
  });
  const lines = createInterface({ input: response });
  // Both report a response that breaks off, also after the last line that is wanted: it would end the process.
  lines.on("error", () => {});
  response.on("error", () => {});
  // Such a response has no end, by which reading its lines would end.
  response.once("close", () => lines.close());
  const broken = (async (): Promise<never> => {
    try {
      for await (const line of lines) {
        const { result } = JSON.parse(line) as {
          result?: { created?: boolean; canceled?: boolean; events?: { kv: { key: string } }[] };
        };
        if (result === undefined || result.canceled) break;
        if (result.created) begun();
        for (const { kv } of result.events ?? []) changed(Buffer.from(kv.key, "base64").toString());
      }
    } finally {
      clearTimeout(turn);
      request.destroy();
    }
    throw new StoreError("WATCH_ENDED", "The watch has ended.");
  })();
  broken.catch(() => {});
  await within(Promise.race([created, broken]), { timeoutMs: way.timeoutMs });
  return { broken, close: () => void request.destroy() };
}

/** etcd's errors have a class each, such as GRPCUnavailableError. */
function coded(error: unknown): unknown {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: string };
  if (typeof code === "string") {
    return error;
  }
  const kind = Object.getPrototypeOf(error ?? {})?.constructor?.name ?? "Error";
  return Object.assign(new Error(message), { code: kind });
}
