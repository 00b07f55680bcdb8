/**
 * The settings between a store and its engine: TLS, passwords, rights, the plugin's own pool; and the doctor's report
 * of them.
 */
import assert from "node:assert/strict";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import pg from "pg";
import { etcdStore } from "../../dist/stores/etcd.js";
import { postgresStatement, postgresStore } from "../../dist/stores/postgres.js";
import { redisStore } from "../../dist/stores/redis.js";
import { CertificateAuthority } from "../support/certificate-authority.ts";
import { Etcd, freePort, Redis } from "../support/engine.ts";
import type { Lifetime } from "../support/lifetime.ts";
import { PostgreSql } from "../support/postgresql.ts";
import { TempHome } from "../support/temp-home.ts";

type Store = ReturnType<typeof redisStore>;
const never = new AbortController().signal;

/** The files of an authority and of a server's certificate, and another authority's. */
async function certificates(t: Lifetime) {
  const [folder, elsewhere] = [TempHome.create(t).path, TempHome.create(t).path];
  const [authority, other] = [await CertificateAuthority.create(folder), await CertificateAuthority.create(elsewhere)];
  const { key, cert } = await authority.issue();
  const files = { key: join(folder, "server.key"), cert: join(folder, "server.pem"), folder };
  writeFileSync(files.cert, cert);
  writeFileSync(files.key, key, { mode: 0o600 });
  return { ...files, ca: authority.path, other: other.path, authority: authority.certificate };
}

/** Everything that goes over a connection: the requests, the lock, and the reports. */
async function works(store: Store): Promise<void> {
  let stop = async () => {};
  const heard = new Promise<void>((resolve) => {
    store
      .watch({
        changed: (key) => key === "a/x" && resolve(),
        live: (isLive) => {
          if (isLive) void write();
        },
      })
      .then((end) => {
        stop = end;
      });
  });
  const write = () =>
    store.withLock("a/x", async () => void (await store.write("a/x", "1", (await store.read("a/x"))?.version)), {
      signal: never,
    });
  await heard;
  await stop();
  assert.equal((await store.read("a/x"))?.value, "1");
}

const atStart = { ...process.env };

/** Sets variables of this process until the test has ended. Its hooks run in the order in which they were given. */
function withVariables(t: Lifetime, variables: Record<string, string>): void {
  Object.assign(process.env, variables);
  t.after(() => {
    for (const name of Object.keys(variables)) {
      const value = atStart[name];
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  });
}

function ended<Made extends Store>(t: Lifetime, store: Made): Made {
  t.after(() => store.end());
  return store;
}

const said = async (store: Store) => (await store.inspect()).map(({ level, message }) => `${level}: ${message}`);

test("postgres: TLS and passwords, from the connection string, the usual variables, and a pool", {
  skip: PostgreSql.unavailable,
}, async (t) => {
  const { key, cert, ca, other, folder, authority } = await certificates(t);
  const rules = join(folder, "pg_hba.conf");
  writeFileSync(rules, "hostssl all gateway 127.0.0.1/32 scram-sha-256\nhost all plugin 127.0.0.1/32 trust\n");
  const secured = ["ssl=on", `ssl_cert_file=${cert}`, `ssl_key_file=${key}`, `hba_file=${rules}`];
  chmodSync(folder, 0o755);
  const database = await PostgreSql.start(t, false, secured);
  await database.query("CREATE ROLE gateway LOGIN PASSWORD 'of:the@gateway'");
  await database.query("GRANT CREATE ON SCHEMA public TO gateway");
  const password = encodeURIComponent("of:the@gateway");
  const at = (mode: string, user = `gateway:${password}`) =>
    `postgres://${user}@127.0.0.1:${database.port}/postgres?${mode}`;
  const trusted = `sslmode=verify-full&sslrootcert=${ca}`;

  await works(ended(t, postgresStore({ connectionString: at(trusted) })));
  for (const [mode, code] of [
    [
      `sslmode=verify-full&sslrootcert=${other}`,
      /^(?:SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_VERIFY_LEAF_SIGNATURE|CERT_SIGNATURE_FAILURE)$/,
    ],
    ["sslmode=disable", /^28000$/],
  ] as const) {
    await assert.rejects(ended(t, postgresStore({ connectionString: at(mode) })).read("a/x"), ({ code: found }) =>
      code.test(found),
    );
  }
  await assert.rejects(ended(t, postgresStore({ connectionString: at(trusted, "gateway:wrong") })).read("a/x"), {
    code: "28P01",
  });

  const variables = { PGHOST: "127.0.0.1", PGPORT: `${database.port}`, PGUSER: "gateway", PGDATABASE: "postgres" };
  withVariables(t, { ...variables, PGPASSWORD: "of:the@gateway" });
  await works(ended(t, postgresStore({ client: { ssl: { ca: authority } } })));
  delete process.env.PGPASSWORD;
  const passwords = join(folder, "pgpass");
  writeFileSync(passwords, `127.0.0.1:${database.port}:postgres:gateway:of\\:the@gateway\n`, { mode: 0o600 });
  withVariables(t, { PGPASSFILE: passwords });
  await works(ended(t, postgresStore({ client: { ssl: { ca: authority } } })));
  for (const name of [...Object.keys(variables), "PGPASSFILE"]) delete process.env[name];

  const pool = new pg.Pool({
    ...{ host: "127.0.0.1", port: database.port, user: "gateway", password: "of:the@gateway" },
    ...{ database: "postgres", ssl: { ca: authority }, max: 1 },
  });
  pool.on("error", () => {});
  t.after(() => pool.end());
  // Its one connection is not taken by the lock.
  await works(ended(t, postgresStore({ pool })));
});

test("postgres: the doctor says of the engine what puts a login in danger", {
  skip: PostgreSql.unavailable,
}, async (t) => {
  const database = await PostgreSql.start(t, false, ["fsync=on"]);
  const store = ended(t, postgresStore({ client: { ...database.connection } }));
  const [version, ...rest] = await said(store);
  assert.match(version ?? "", /^ok: PostgreSQL 15\.\d+.*, answers in \d+ ms\.$/);
  assert.deepEqual(rest, []);

  await database.query("ALTER ROLE plugin SET synchronous_commit = off");
  await database.query("CREATE ROLE reader LOGIN");
  await database.query("GRANT SELECT ON plugin_auth TO reader");
  const reading = ended(t, postgresStore({ client: { ...database.connection, user: "reader" }, create: false }));
  assert.deepEqual((await said(reading)).slice(1), [`error: This role may not read and write "plugin_auth".`]);

  const late = ended(t, postgresStore({ client: { ...database.connection } }));
  const now = Date.now;
  t.mock.method(Date, "now", () => now() - 90_000);
  const [, commit, clock] = await said(late);
  t.mock.restoreAll();
  assert.match(commit ?? "", /^warning: synchronous_commit is off: a crash .* lose the last refresh token/);
  assert.match(clock ?? "", /^warning: The server's clock is (?:89|9\d) s from this machine's\.$/);

  await database.query("DROP TABLE plugin_auth");
  const gone = (await store.inspect()).filter(({ level }) => level === "error");
  assert.deepEqual(
    gone.map(({ message, fix }) => [message, fix]),
    [[`The table "plugin_auth" is not there.`, `${postgresStatement()};`]],
  );
});

test("redis: TLS and passwords, from the address and the usual variables; what a user may not is said", {
  skip: Redis.unavailable,
}, async (t) => {
  const { key, cert, ca, authority } = await certificates(t);
  const port = await freePort();
  const tls = ["--tls-port", `${port}`, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", ca];
  const redis = await Redis.start(t, false, [...tls, "--tls-auth-clients", "no"]);
  const lasting = redis.session();
  t.after(() => lasting.end());
  await lasting.send("ACL SETUSER gateway on >secret ~plugin_auth:* &plugin_auth:* +@all");
  await lasting.send("ACL SETUSER reader on >secret ~plugin_auth:* &plugin_auth:* +@all -hset -config");
  await lasting.send("ACL SETUSER default off");
  const client = { socket: { ca: authority } };
  const at = (user: string) => `rediss://${user}127.0.0.1:${port}`;

  await works(ended(t, redisStore({ url: at("gateway:secret@"), client })));
  await assert.rejects(ended(t, redisStore({ url: at("gateway:secret@") })).read("a/x"), ({ code }) =>
    /^(?:SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_VERIFY_LEAF_SIGNATURE)$/.test(code),
  );
  await assert.rejects(ended(t, redisStore({ url: at("gateway:wrong@"), client })).read("a/x"), { code: "WRONGPASS" });
  await assert.rejects(ended(t, redisStore({ url: at(""), client })).read("a/x"), { code: "NOAUTH" });

  withVariables(t, { REDIS_URL: at("gateway:secret@") });
  await works(ended(t, redisStore({ client })));
  withVariables(t, { REDIS_URL: at(""), REDIS_USERNAME: "gateway", REDIS_PASSWORD: "secret" });
  const store = ended(t, redisStore({ client }));
  await works(store);
  delete process.env.REDIS_PASSWORD;
  withVariables(t, { REDISCLI_AUTH: "secret" });
  await works(ended(t, redisStore({ client })));
  const [version, ...rest] = await said(store);
  assert.match(version ?? "", /^ok: Redis 7\.\d+\.\d+, answers in \d+ ms\.$/);
  assert.deepEqual(rest, []);
  assert.deepEqual(await store.list(""), ["a/x"], "what the doctor tries leaves nothing behind");

  const reading = ended(t, redisStore({ url: at("reader:secret@"), client }));
  assert.deepEqual((await said(reading)).slice(1), [
    "error: This user may not read, write and publish.",
    "warning: The server does not say how durable it is (CONFIG is not allowed).",
  ]);
  await lasting.send("CONFIG SET appendonly no");
  const now = Date.now;
  t.mock.method(Date, "now", () => now() + 90_000);
  const [, durability, clock] = await said(store);
  t.mock.restoreAll();
  assert.match(durability ?? "", /^warning: appendonly is no, appendfsync always: a crash/);
  assert.match(clock ?? "", /^warning: The server's clock is (?:89|9\d) s from this machine's\.$/);
});

test("etcd: TLS and passwords, from the options and from etcdctl's variables; what a user may not is said", {
  skip: Etcd.unavailable,
}, async (t) => {
  const { key, cert, ca, other, authority } = await certificates(t);
  const port = await freePort();
  const etcd = await Etcd.start(t, false, { port, options: ["--cert-file", cert, "--key-file", key] });
  const text = (value: string) => Buffer.from(value).toString("base64");
  for (const [name, perms] of [
    ["gateway", ["READWRITE"]],
    ["reader", ["READ"]],
  ] as const) {
    await etcd.post("/v3/auth/role/add", { name });
    for (const permType of perms) {
      const perm = { permType, key: text("plugin_auth/"), range_end: text("plugin_auth0") };
      await etcd.post("/v3/auth/role/grant", { name, perm });
    }
    await etcd.post("/v3/auth/user/add", { name, password: "se:cret" });
    await etcd.post("/v3/auth/user/grant", { user: name, role: name });
  }
  await etcd.post("/v3/auth/user/add", { name: "root", password: "root" });
  await etcd.post("/v3/auth/role/add", { name: "root" });
  await etcd.post("/v3/auth/user/grant", { user: "root", role: "root" });
  await etcd.post("/v3/auth/enable", {});
  const hosts = `https://127.0.0.1:${port}`;
  const credentials = { rootCertificate: Buffer.from(authority) };
  const auth = { username: "gateway", password: "se:cret" };

  await works(ended(t, etcdStore({ hosts, client: { credentials, auth } })));
  for (const client of [{ auth }, { credentials, auth: { ...auth, password: "wrong" } }, { credentials }]) {
    await assert.rejects(ended(t, etcdStore({ hosts, client, timeoutMs: 1_000 })).read("a/x"), ({ code }) =>
      /^(?:GRPCUnavailableError|ETIMEDOUT|EtcdAuthenticationFailedError|GRPCInvalidArgumentError|EtcdUserNotFoundError|EtcdError)$/.test(
        code,
      ),
    );
  }

  await new Promise<void>((again) => {
    let refused = 0;
    const live = (isLive: boolean) => {
      refused += isLive ? 0 : 1;
      if (refused === 2) again();
    };
    void ended(t, etcdStore({ hosts, client: { credentials } })).watch({ changed() {}, live });
  });

  withVariables(t, { ETCDCTL_ENDPOINTS: hosts, ETCDCTL_CACERT: ca, ETCDCTL_USER: "gateway:se:cret" });
  await works(ended(t, etcdStore()));
  withVariables(t, { ETCDCTL_USER: "gateway", ETCDCTL_PASSWORD: "se:cret" });
  const store = ended(t, etcdStore());
  await works(store);
  const [version, ...rest] = await said(store);
  assert.match(version ?? "", /^ok: etcd 3\.\d+\.\d+, answers in \d+ ms\. It writes to disk before it answers\.$/);
  assert.deepEqual(rest, []);
  assert.deepEqual(await store.list(""), ["a/x"], "what the doctor tries leaves nothing behind");

  withVariables(t, { ETCDCTL_USER: "reader" });
  const now = Date.now;
  t.mock.method(Date, "now", () => now() + 90_000);
  const [, rights, clock] = await said(ended(t, etcdStore()));
  t.mock.restoreAll();
  assert.equal(rights, "error: This user may not read and write the keys.");
  assert.match(clock ?? "", /^warning: The server's clock is (?:89|9\d) s from this machine's\.$/);
  withVariables(t, { ETCDCTL_CACERT: other });
  await assert.rejects(ended(t, etcdStore({ timeoutMs: 1_000 })).read("a/x"));
});

test("etcd: a certificate of the client, by etcdctl's variables", { skip: Etcd.unavailable }, async (t) => {
  const { key, cert, ca } = await certificates(t);
  const port = await freePort();
  const files = ["--cert-file", cert, "--key-file", key, "--trusted-ca-file", ca];
  await Etcd.start(t, false, { port, options: [...files, "--client-cert-auth"] });
  withVariables(t, { ETCDCTL_ENDPOINTS: `https://127.0.0.1:${port}`, ETCDCTL_CACERT: ca });
  await assert.rejects(ended(t, etcdStore({ timeoutMs: 1_000 })).read("a/x"));
  withVariables(t, { ETCDCTL_CERT: cert, ETCDCTL_KEY: key });
  await works(ended(t, etcdStore()));
});
