/**
 * Real programs and this package with one login, at a server with refresh tokens that work once: each reads the
 * other's login, they send one request each when both need it at once, and a killed program's lock is waited for as
 * long as the program itself would.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { type AuthConfig, getValidAccessToken, status } from "../../index.js";
import { type HostLock, layouts } from "../support/foreign-file.ts";
import { rejection } from "../support/rejection.ts";
import { TempHome } from "../support/temp-home.ts";
import { type Program, programs } from "./program.ts";
import { Service } from "./service.ts";

/** How often both refresh at once; a program that starts fast does it more often. */
const roundsOf = ({ start }: Program) => Number(process.env.PROGRAMS_ROUNDS ?? (start <= 3000 ? 3 : 1));

/** The package of the only one. */
const only = process.env.PROGRAMS_ONLY;

for (const [name, program] of Object.entries(programs)) {
  if (only !== undefined && program.package !== only) {
    continue;
  }
  describe(name, { concurrency: 2 }, () => {
    const excludes = layouts[program.format].locks("/x/y/z").length > 0;

    test("it reads what we wrote, and uses it", async (t) => {
      const side = await Side.create(t, program);
      const token = await getValidAccessToken(side.config);
      assert.equal(side.tokens().access, token);
      assert.equal(
        side.service.refreshes[0]?.type,
        program.json ? "application/json" : "application/x-www-form-urlencoded",
      );
      if (program.status) {
        assert.match(await side.output(program.status.command), program.status.says);
      }
      const running = side.start();
      if (program.sends) {
        await until(() => side.service.bearers.has(token));
        running.kill("SIGKILL");
      }
      await running.ended;
      side.isAlive(1);
      assert.equal(side.tokens().access, token);
    });

    test("we read what it wrote", async (t) => {
      const side = await Side.create(t, program);
      const running = side.start();
      await side.service.asked();
      await until(() => side.tokens().access !== side.old);
      assert.equal(await getValidAccessToken(side.config), side.tokens().access);
      assert.equal((await status(side.config)).state, "valid");
      running.kill("SIGKILL");
      await running.ended;
      side.isAlive(1);
    });

    if (!excludes) {
      return;
    }

    for (const order of ["we are first", "it is first"]) {
      test(`both refresh at once, ${order}: one request, and the login lives`, async (t) => {
        for (let round = 0; round < roundsOf(program); round += 1) {
          const side = await Side.create(t, program);
          side.service.delay = order === "it is first" ? 1500 : program.start;
          const asked = side.service.asked();
          let ours: Promise<string> | undefined;
          let running: Running | undefined;
          if (order === "we are first") {
            ours = getValidAccessToken(side.config);
            await asked;
            running = side.start();
          } else {
            running = side.start();
            await asked;
            ours = getValidAccessToken(side.config);
          }
          const token = await ours;
          assert.equal(token, side.tokens().access);
          if (program.sends) {
            await until(() => side.service.bearers.has(token));
            running.kill("SIGKILL");
          }
          await running.ended;
          side.isAlive(1);
          assert.equal(await getValidAccessToken(side.config), token);
        }
      });
    }

    test("it is killed with its lock: after its own time, and not earlier", async (t) => {
      const side = await Side.create(t, program);
      let open = () => {};
      side.service.gate = new Promise((resolve) => {
        open = resolve;
      });
      const running = side.start();
      await side.service.asked();
      const locks = side.locks().filter(({ path }) => existsSync(path));
      assert.ok(locks.length > 0, "it holds its lock while it asks");
      if (locks.every(({ kind }) => kind !== "lease")) {
        await rejection(getValidAccessToken({ ...side.config, lockTimeoutMs: 500 }), "STORE_LOCKED");
      }
      running.kill("SIGKILL");
      await running.ended;
      side.service.gate = undefined;
      open();
      for (const { path, stale, kind } of locks) {
        assert.ok(existsSync(path), `${path} stays`);
        // mcp-remote's ends with its process.
        if (kind !== "lease") {
          age(path, stale - 2);
          await rejection(getValidAccessToken({ ...side.config, lockTimeoutMs: 300 }), "STORE_LOCKED");
          age(path, stale + 1);
        }
      }
      assert.deepEqual(side.service.refreshes, []);
      assert.equal(await getValidAccessToken(side.config), side.tokens().access);
      side.isAlive(1);
      assert.deepEqual(
        side.locks().filter(({ path }) => existsSync(path)),
        [],
      );
    });
  });
}

interface Running {
  kill: ChildProcess["kill"];
  ended: Promise<string>;
}

/** One login that has ended, a program that keeps it, and its service. */
class Side {
  readonly config: AuthConfig;
  readonly service: Service;
  readonly old: string;
  readonly #path: string;
  readonly #program: Program;
  readonly #home: TempHome;
  readonly #test: TestContext;

  static async create(t: TestContext, program: Program): Promise<Side> {
    const home = TempHome.create(t);
    return new Side(t, program, home, await Service.start(t, home.path));
  }

  private constructor(t: TestContext, program: Program, home: TempHome, service: Service) {
    const { access, idToken } = service.tokens(0, -1000);
    const { format } = program;
    this.service = service;
    this.old = access;
    this.#test = t;
    this.#home = home;
    this.#program = program;
    this.#path = join(home.path, program.path(service.origin));
    this.config = {
      pluginId: "memory",
      ...(format === "pi" ? { profileId: "anthropic" } : {}),
      tokenEndpoint: `${service.origin}/token`,
      clientId: "public",
      stateDir: home.stateDir,
      credentialsFormat: format,
      credentialsPath: this.#path,
    };
    service.extra = program.answer ?? {};
    const login = program.text({ access, idToken, refresh: service.live, expires: Date.now() - 1000 });
    for (const [path, text] of Object.entries({
      ...program.files,
      [program.path(service.origin)]: JSON.stringify(login, null, 2),
    })) {
      mkdirSync(dirname(join(home.path, path)), { recursive: true });
      writeFileSync(join(home.path, path), text, { mode: 0o600 });
    }
  }

  /** The tokens in the file; the earlier ones while it is half written. */
  tokens(): { access: string; refresh: string } {
    try {
      return this.#program.tokens(JSON.parse(readFileSync(this.#path, "utf8")) as never);
    } catch {
      return { access: this.old, refresh: "" };
    }
  }

  locks(): HostLock[] {
    return layouts[this.#program.format].locks(this.#path);
  }

  start(command = this.#program.command(this.service.origin)): Running {
    const [file = "", ...args] = command;
    const env = this.#home.env({ ...this.service.env(), ...this.#program.env?.(this.service.origin) });
    const child = spawn(file, args, { env, cwd: this.#home.path, stdio: ["ignore", "pipe", "pipe"] });
    let text = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
      });
    }
    this.#test.after(() => void child.kill("SIGKILL"));
    const ended = new Promise<string>((resolve) => child.on("close", () => resolve(text)));
    return { kill: (signal) => child.kill(signal), ended };
  }

  output(command: string[]): Promise<string> {
    return this.start(command).ended;
  }

  /** That many requests were sent, none with a token that was used before, and the file holds the valid one. */
  isAlive(requests: number): void {
    assert.deepEqual(
      this.service.refreshes.map(({ accepted }) => accepted),
      Array.from({ length: requests }, () => true),
    );
    if (this.#program.answer?.refresh_token === undefined && !("refresh_token" in (this.#program.answer ?? {}))) {
      assert.equal(this.tokens().refresh, this.service.live);
    }
  }
}

function age(path: string, seconds: number): void {
  const at = new Date(Date.now() - seconds * 1000);
  utimesSync(path, at, at);
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
