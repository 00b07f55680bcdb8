/** A process that stops while it holds the lock (SIGSTOP, a frozen container, a blocked event loop) loses nothing. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { ExpiredLogin } from "./support/expired-login.ts";
import { Tracer } from "./support/tracer.ts";

describe("a holder of the lock that is stopped", { concurrency: 6, skip: process.platform === "win32" }, () => {
  test("others wait as long as they may and learn who holds it; nobody steals; it goes on and does no harm", async (t) => {
    const login = await ExpiredLogin.create(t);
    const [holder, waiter, other] = await Promise.all([login.plugin(), login.plugin(), login.plugin()]);
    const held = await login.heldAnswer();
    const outcome = holder.accessToken(login.config);
    await held.arrived;
    holder.child.signal("SIGSTOP");

    const impatient = { ...login.config, lockTimeoutMs: 300 };
    for (const call of [
      waiter.accessToken(impatient),
      other.call("logout", [impatient]),
      other.call("login", [impatient]),
    ]) {
      await assert.rejects(call, (error: { code: string; message: string; retryable: boolean }) => {
        assert.equal(error.code, "STORE_LOCKED");
        assert.ok(error.message.includes(`process ${holder.child.pid}`), error.message);
        assert.ok(error.message.includes(login.path), error.message);
        assert.equal(error.retryable, true);
        return true;
      });
    }
    assert.deepEqual(login.stored(), login.old);
    assert.equal((await login.refreshes()).length, 1);
    assert.deepEqual(await login.server.requests({ endpoint: "device_authorization" }), []);
    assert.equal((await waiter.status(login.config)).state, "valid");

    await held.release();
    // One that has more patience gets what the holder brings.
    const patient = waiter.accessToken(login.config);
    holder.child.signal("SIGCONT");
    const token = await outcome;
    assert.equal(await patient, token);
    assert.equal(login.stored().access, token);
    assert.equal((await login.refreshes()).length, 1);
    // The token that it has stored is valid.
    assert.notEqual(await waiter.accessToken(login.config, { rejectedToken: token }), token);
  });

  test("stopped for longer than its request may take, with the answer waiting: it takes the answer", async (t) => {
    const login = await ExpiredLogin.create(t, { config: { requestTimeoutMs: 3000 } });
    const holder = await login.plugin();
    const held = await login.heldAnswer();
    const outcome = holder.accessToken(login.config);
    await held.arrived;
    holder.child.signal("SIGSTOP");
    await held.release();
    // The answer arrives in its socket, and the time limit of the request passes.
    await login.server.request({ grant: "refresh_token" });
    await new Promise((resolve) => setTimeout(resolve, 3500));
    holder.child.signal("SIGCONT");
    const token = await outcome;
    assert.equal(login.stored().access, token);
    assert.equal((await login.refreshes()).length, 1);
  });

  test("stopped, and its login replaced by hand meanwhile: the file wins, and what came too late is revoked", async (t) => {
    const login = await ExpiredLogin.create(t);
    const [holder, other] = await Promise.all([login.plugin(), login.plugin()]);
    const held = await login.heldAnswer();
    const outcome = holder.accessToken(login.config);
    await held.arrived;
    holder.child.signal("SIGSTOP");
    // Another login, made elsewhere and copied here without any lock.
    const elsewhere = await ExpiredLogin.create(t);
    await held.release();
    const copied = {
      ...elsewhere.stored(),
      tokenEndpoint: `${login.server.issuer}/token`,
      issuer: login.server.issuer,
    };
    writeFileSync(login.path, JSON.stringify({ ...copied, expires: Date.now() + 3_600_000 }));
    holder.child.signal("SIGCONT");
    assert.equal(await outcome, copied.access);
    assert.equal(await other.accessToken(login.config), copied.access);
    const { form } = await login.server.request({ endpoint: "revocation" });
    assert.equal(form?.token_type_hint, "refresh_token");
    assert.notEqual(form?.token, login.old.refresh);
    assert.notEqual(form?.token, copied.refresh);
  });
});

test("a holder whose event loop is blocked neither loses the lock nor the refresh", {
  skip: process.platform === "win32",
}, async (t) => {
  const login = await ExpiredLogin.create(t);
  const [holder, other] = await Promise.all([login.plugin(), login.plugin()]);
  const pipe = join(login.home.path, "pipe");
  execFileSync("mkfifo", [pipe]);
  const held = await login.heldAnswer();
  const outcome = holder.accessToken(login.config);
  await held.arrived;
  holder.child.send({ block: pipe });
  await holder.child.event("blocked");
  await held.release();
  // Another process gets the token while the holder still cannot run a line of JavaScript.
  const token = await other.accessToken(login.config);
  assert.equal(login.stored().access, token);
  writeFileSync(pipe, "go on");
  assert.equal(await outcome, token);
  assert.equal((await login.refreshes()).length, 1);
});

describe("stopped between any two steps of the save", { concurrency: 6, skip: await Tracer.unavailable() }, () => {
  const steps = [
    { after: "write", calls: "write,pwrite64", of: (login: ExpiredLogin) => login.temp() },
    { after: "truncation", calls: "ftruncate", of: (login: ExpiredLogin) => login.temp() },
    { after: "sync", calls: "fsync", of: (login: ExpiredLogin) => login.temp() },
    { after: "reading the file again", calls: "close", of: (login: ExpiredLogin) => login.path },
    { after: "rename", calls: "/^rename", of: (login: ExpiredLogin) => login.folder },
    { after: "sync of the folder", calls: "fsync", of: (login: ExpiredLogin) => login.folder },
  ];
  for (const { after, calls, of } of steps) {
    test(`after the ${after}: readers see a whole file, nobody steals, the save is finished`, async (t) => {
      const login = await ExpiredLogin.create(t);
      const [holder, other] = await Promise.all([login.plugin(), login.plugin()]);
      const held = await login.heldAnswer();
      const outcome = holder.accessToken(login.config);
      await held.arrived;
      const tracer = await Tracer.attach(t, holder.child.pid, { calls, path: of(login), when: "1" }, { stop: true });
      await held.release();
      await tracer.stopped();
      const isStored = login.stored().access !== login.old.access;
      const impatient = other.accessToken({ ...login.config, lockTimeoutMs: 200 });
      if (isStored) {
        assert.equal(await impatient, login.stored().access);
      } else {
        await assert.rejects(impatient, { code: "STORE_LOCKED" });
        assert.deepEqual(login.stored(), login.old);
      }
      holder.child.signal("SIGCONT");
      const token = await outcome;
      assert.equal(await other.accessToken(login.config), token);
      assert.equal((await login.refreshes()).length, 1);
      assert.deepEqual(login.files(), ["default.json", "default.json.lock"]);
    });
  }
});
