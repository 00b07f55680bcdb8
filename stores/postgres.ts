/** Logins in PostgreSQL, for several machines that share one. */
import { randomUUID } from "node:crypto";
import { hearing } from "./hearing.ts";
import { held } from "./lock-renewal.ts";
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

/** The used part of a pool of npm's `pg`. */
export interface PostgresPool {
  // biome-ignore lint/suspicious/noExplicitAny: rows are of any shape
  query(text: string, values?: unknown[]): Promise<{ rows: any[] }>;
  /** How it connects: the lock and the notifications do the same. */
  options?: object;
}

export interface PostgresStoreOptions extends SharedStoreOptions {
  /**
   * `postgres://user@host/database`. Without it the usual variables count: `PGHOST`, `PGUSER`, `PGPASSWORD`, … and
   * ~/.pgpass.
   */
  connectionString?: string | undefined;
  /** Further options of `pg`: `ssl`, `host`, `user`, … */
  client?: Record<string, unknown> | undefined;
  /**
   * A pool of the plugin's own for reads and writes. The lock and the notifications have connections of their own,
   * made with the pool's options where none are given here.
   */
  pool?: PostgresPool | undefined;
  /** @default the first schema of the search path */
  schema?: string | undefined;
  /** @default "plugin_auth" */
  table?: string | undefined;
  /** Makes the table on first use. Off: run {@link postgresStatement} once, as a user who may. @default true */
  create?: boolean | undefined;
}

/** The statement that makes the table, for a role that may not do so itself. */
export function postgresStatement(options: Pick<PostgresStoreOptions, "schema" | "table"> = {}): string {
  return `CREATE TABLE IF NOT EXISTS ${tableOf(options)} (key text PRIMARY KEY, value text NOT NULL, version text NOT NULL)`;
}

// biome-ignore lint/suspicious/noExplicitAny: `pg` is a peer, which need not be installed for these types
type Pg = any;

/** Make one for the life of the process. Connects at first use. */
export function postgresStore(options: PostgresStoreOptions = {}): SharedStore {
  const { timeoutMs = 5_000, connectionString, create = true } = options;
  const table = tableOf(options);
  const channel = `plugin_auth_${(options.schema ?? "").replace(/\W/g, "_")}_${(options.table ?? "plugin_auth").replace(/\W/g, "_")}`;
  const isGiven = connectionString !== undefined || options.client !== undefined;
  const pooled = (isGiven ? undefined : options.pool?.options) as { password?: unknown } | undefined;
  const settings = {
    ...pooled,
    // It is not enumerable there.
    ...(pooled?.password !== undefined && { password: pooled.password }),
    ...(connectionString !== undefined && { connectionString }),
    ...options.client,
    connectionTimeoutMillis: timeoutMs,
    keepAlive: true,
    application_name: "clawdbot-plugin-auth",
  };
  let loading: Promise<{ pg: Pg; pool: PostgresPool }> | undefined;
  let isPooled: Promise<void> | undefined;
  let own: Pg;
  const watches = new Set<() => Promise<void>>();

  /** Once; after a failure again at the next call. */
  const ready = (): Promise<{ pg: Pg; pool: PostgresPool }> => {
    loading ??= connect().catch((error) => {
      loading = undefined;
      throw error;
    });
    return loading;
  };
  async function connect() {
    const module: Pg = await peer("pg", () => import("pg" as string));
    const pg = module.default ?? module;
    if (options.pool === undefined && own === undefined) {
      own = new pg.Pool({ ...settings, query_timeout: timeoutMs, max: 4, allowExitOnIdle: true });
      // An idle connection that breaks is replaced by the pool.
      own.on("error", () => {});
    }
    const pool: PostgresPool = options.pool ?? own;
    if (create) {
      await within(pool.query(postgresStatement(options)), { timeoutMs });
    }
    return { pg, pool };
  }
  const query = async (text: string, values: unknown[] = []) => {
    const { pool } = await ready();
    return (await within(pool.query(text, values), { timeoutMs })).rows;
  };
  /** A connection of its own. */
  const dedicated = async () => {
    const { pg } = await ready();
    const client = new pg.Client(settings);
    const broken = new Promise<never>((_, reject) => {
      // Each of them: one without a listener would end the process.
      client.on("error", reject);
      client.once("end", () => reject(new StoreError("CONNECTION_ENDED", "The connection has ended.")));
    });
    broken.catch(() => {});
    await client.connect();
    return { client, broken };
  };

  const engine: SharedStore = {
    async read(key) {
      return (await query(`SELECT value, version FROM ${table} WHERE key = $1`, [key]))[0];
    },

    // A version is never used twice, also not by a replica that has become the primary and lost the last writes.
    async write(key, value, expected) {
      const values = [key, value, randomUUID(), ...(expected === undefined ? [] : [expected])];
      const statement =
        expected === undefined
          ? `INSERT INTO ${table} (key, value, version) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING version`
          : `UPDATE ${table} SET value = $2, version = $3 WHERE key = $1 AND version = $4 RETURNING version`;
      const [row] = await query(
        `WITH written AS (${statement}) SELECT version, pg_notify('${channel}', $1) FROM written`,
        values,
      );
      return row?.version;
    },

    // A connection of its own, so that those who wait take none from the holder. The database frees the lock when the
    // connection ends, however it ends: a process that was killed leaves none behind.
    async withLock(key, work, { signal }) {
      const { client, broken } = await within(dedicated(), { signal, timeoutMs: 2 * timeoutMs });
      try {
        isPooled ??= refuseTransactionPooling(client, dedicated).catch((error) => {
          isPooled = undefined;
          throw error;
        });
        await Promise.race([isPooled, broken]);
        const taken = client.query("SELECT pg_advisory_lock(hashtextextended($1, 0))", [`${table} ${key}`]);
        taken.catch(() => {});
        await within(Promise.race([taken, broken]), { signal });
        await held(work, broken);
      } finally {
        // Breaks off a statement that still waits, and frees the lock.
        client.end().catch(() => {});
      }
    },

    async list(prefix) {
      const pattern = `${prefix.replace(/[\\%_]/g, "\\$&")}%`;
      const rows = await query(`SELECT key FROM ${table} WHERE key LIKE $1 ORDER BY key`, [pattern]);
      return rows.map(({ key }) => key);
    },

    async watch(listener) {
      const stop = hearing(listener, async () => {
        const { client, broken } = await dedicated();
        client.on("notification", ({ payload }: { payload?: string }) => payload && listener.changed(payload));
        await within(client.query(`LISTEN "${channel}"`), { timeoutMs });
        client.connection?.stream?.unref?.();
        return { broken, ping: () => client.query("SELECT 1"), close: () => void client.end().catch(() => {}) };
      });
      watches.add(stop);
      return stop;
    },

    async inspect() {
      const checks: StoreCheck[] = [];
      const began = performance.now();
      const [row] = await query(
        `SELECT current_setting('server_version') AS version, current_setting('fsync') AS fsync,
           current_setting('synchronous_commit') AS commit, extract(epoch FROM clock_timestamp()) * 1000 AS now,
           pg_is_in_recovery() AS replica, to_regclass($1) IS NOT NULL AS there,
           (SELECT bool_and(has_table_privilege(to_regclass($1), wanted)) FROM unnest('{SELECT,INSERT,UPDATE}'::text[]) wanted) AS may`,
        [table],
      );
      const took = performance.now() - began;
      checks.push({
        name: "store",
        level: "ok",
        message: `PostgreSQL ${row.version}, answers in ${took.toFixed(0)} ms.`,
      });
      if (row.replica) {
        checks.push(problem("This server is a replica and cannot be written.", "Give the address of the primary."));
      }
      if (!row.there) {
        checks.push(problem(`The table ${table} is not there.`, `${postgresStatement(options)};`));
      } else if (!row.may) {
        checks.push(
          problem(`This role may not read and write ${table}.`, `GRANT SELECT, INSERT, UPDATE ON ${table} TO …`),
        );
      }
      for (const [name, value] of [
        ["fsync", row.fsync],
        ["synchronous_commit", row.commit],
      ]) {
        if (value === "off") {
          checks.push(
            problem(
              `${name} is off: a crash of the server can lose the last refresh token, and with it the login.`,
              `Set ${name} = on.`,
              "warning",
            ),
          );
        }
      }
      checks.push(...clockCheck(Number(row.now), took));
      return checks;
    },

    async end() {
      await Promise.all([...watches].map((stop) => stop()));
      await own?.end();
    },
  };
  return sealed(engine, options);
}

/**
 * A pooler that gives every transaction another connection (pgbouncer's `pool_mode = transaction`) frees the lock with
 * its statement. A pooler shows by the backend that it names at the start, which is another than the one that answers;
 * its mode by whether a second client is given the backend of the first one, which is still connected.
 */
async function refuseTransactionPooling(client: Pg, dedicated: () => Promise<{ client: Pg }>): Promise<void> {
  const backend = async (one: Pg): Promise<number> => (await one.query("SELECT pg_backend_pid() AS pid")).rows[0].pid;
  const first = await backend(client);
  if (first === client.processID) {
    return;
  }
  const { client: other } = await dedicated();
  try {
    for (let tries = 0; tries < 5; tries += 1) {
      const isShared = (await backend(other)) === first;
      const isMoved = (await backend(client)) !== first;
      if (isShared || isMoved) {
        throw new StoreError(
          "PGBOUNCER_TRANSACTION_MODE",
          "The connection goes through a pooler in transaction mode, where a lock ends with its statement. Connect to PostgreSQL itself, or set pool_mode = session.",
        );
      }
    }
  } finally {
    await other.end().catch(() => {});
  }
}

function tableOf({ schema, table = "plugin_auth" }: Pick<PostgresStoreOptions, "schema" | "table">): string {
  return [...(schema === undefined ? [] : [schema]), table].map((name) => `"${name.replaceAll('"', '""')}"`).join(".");
}
