/** Logins in PostgreSQL, for several machines that share one. */
import type { CredentialStore } from "clawdbot-plugin-auth";
import pg from "pg";

/** A request that hangs would keep every caller waiting. */
const limits = { connectionTimeoutMillis: 5_000, query_timeout: 5_000 };

/** Make one for the life of the process. */
export async function postgresStore(database: pg.ClientConfig): Promise<CredentialStore & { end(): Promise<void> }> {
  const pool = new pg.Pool({ ...database, ...limits, max: 4, allowExitOnIdle: true });
  // A connection that breaks while nobody uses it is none to speak of.
  pool.on("error", () => {});
  await pool.query(
    "CREATE TABLE IF NOT EXISTS plugin_auth (key text PRIMARY KEY, value text NOT NULL, version bigint NOT NULL)",
  );
  return {
    async read(key) {
      const { rows } = await pool.query("SELECT value, version::text FROM plugin_auth WHERE key = $1", [key]);
      return rows[0];
    },

    // The version only ever grows, and rows are never deleted: no version comes twice.
    async write(key, value, expected) {
      const { rows } =
        expected === undefined
          ? await pool.query(
              "INSERT INTO plugin_auth VALUES ($1, $2, 1) ON CONFLICT DO NOTHING RETURNING version::text",
              [key, value],
            )
          : await pool.query(
              "UPDATE plugin_auth SET value = $2, version = version + 1 WHERE key = $1 AND version = $3 RETURNING version::text",
              [key, value, expected],
            );
      return rows[0]?.version;
    },

    // A connection of its own, so that those who wait for a lock take none from its holder. The database frees the lock when
    // the connection ends, however it ends: no lock is left behind by a process that was killed. Not through pgbouncer in
    // transaction mode: there the connection is another one with each statement.
    async withLock(key, work, { signal }) {
      const client = new pg.Client({
        ...database,
        connectionTimeoutMillis: limits.connectionTimeoutMillis,
        keepAlive: true,
      });
      const broken = new Promise<never>((_, reject) => client.once("error", reject));
      broken.catch(() => {});
      const { promise: aborted, reject: abort } = deferred();
      signal.addEventListener("abort", () => abort(signal.reason), { once: true });
      try {
        await client.connect();
        await Promise.race([client.query("SELECT pg_advisory_lock(hashtextextended($1, 0))", [key]), broken, aborted]);
        await Promise.race([work(), broken]);
      } finally {
        // Breaks off a statement that still waits.
        void client.end().catch(() => {});
      }
    },

    end: () => pool.end(),
  };
}

function deferred() {
  let reject: (reason: unknown) => void = () => {};
  const promise = new Promise<never>((_, no) => {
    reject = no;
  });
  promise.catch(() => {});
  return { promise, reject };
}
