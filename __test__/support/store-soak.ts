/**
 * Sixteen processes on four machines that share one login in a real engine, while the engine, the network and the
 * processes fail at random. The authorization server rotates refresh tokens, ends a login when a token is spent
 * twice, and has a grace window in front of it (see grace-window.ts): so only the store can lose a login.
 */
import { setTimeout as pause } from "node:timers/promises";
import { type AuthConfig, getValidAccessToken, status } from "../../index.js";
import { AuthorizationServer } from "./authorization-server.ts";
import { Child } from "./child.ts";
import type { Engine } from "./engine.ts";
import { type EngineName, engines } from "./engines.ts";
import type { Lifetime } from "./lifetime.ts";
import { approvedLogin, configFor } from "./login.ts";
import { Machine, type Trouble } from "./machines.ts";
import { storeOf } from "./shared-stores.ts";
import { TempHome } from "./temp-home.ts";
import { TokenFront } from "./token-front.ts";
import { WallClock } from "./wall-clock.ts";

export interface StoreSoakOptions {
  engine: EngineName;
  milliseconds: number;
  /** How long a holder is stopped, in milliseconds. */
  stopMs: number;
}

export interface StoreSoakSummary {
  tokens: number;
  /** Calls that were rejected, by code. */
  failures: Record<string, number>;
  /** The faults made, by kind. */
  faults: Record<string, number>;
  refreshes: number;
  /** The most that were under way at once, by the server's log, and how often one began while another was. */
  atOnce: number;
  overlaps: number;
  /** Refresh tokens that came a second time: the answer, or the lock, was lost. */
  repeats: number;
  /** Logins that ended. */
  losses: number;
  /** Tokens that were handed out and not the server's. */
  wrong: number;
  /** Whether all had the stored token in the end, and it could be refreshed. */
  isWhole: boolean;
}

interface Worker {
  child: Child;
  machine: number;
  isStopped: boolean;
}

const machineCount = 4;
const workersEach = 4;
const place = "memory/default";
/** Wall clocks of the machines: of two they are wrong. */
const clocks = ["+0", "+3", "-3", "+0"];

export class StoreSoak {
  readonly #lifetime: Lifetime;
  readonly #engine: Engine;
  readonly #front: TokenFront;
  readonly #machines: Machine[];
  readonly #config: AuthConfig;
  readonly #stopMs: number;
  readonly #homes: TempHome[];
  readonly #workers: Worker[] = [];
  readonly #failures: Record<string, number> = {};
  readonly #faults: Record<string, number> = {};
  #tokens = 0;
  #wrong = 0;
  #losses = 0;
  #relogin: Promise<unknown> | undefined;

  static async run(lifetime: Lifetime, { engine: name, milliseconds, stopMs }: StoreSoakOptions) {
    const server = await AuthorizationServer.start(lifetime, { accessTokenTtl: 20 });
    const front = await TokenFront.start(lifetime, server.endpoints.tokenEndpoint);
    const engine = await engines[name].start(lifetime, true);
    const ports = [server.origin, front.endpoint].map((url) => Number(new URL(url).port));
    const machines: Machine[] = [];
    for (let nth = 1; nth <= machineCount; nth += 1) machines.push(await Machine.create(lifetime, nth, ports));
    const store = storeOf(engine.told);
    lifetime.after(() => store.end());
    const home = TempHome.create(lifetime);
    const endpoints = { ...server.endpoints, tokenEndpoint: front.endpoint };
    const config = configFor(server, home.stateDir, { ...endpoints, store, lockTimeoutMs: 20_000 });
    await approvedLogin(config);
    const soak = new StoreSoak(lifetime, engine, front, machines, config, stopMs);
    for (let slot = 0; slot < machineCount * workersEach; slot += 1) await soak.#start(slot);
    await soak.#endure(Date.now() + milliseconds);
    return soak.#end(store);
  }

  private constructor(
    lifetime: Lifetime,
    engine: Engine,
    front: TokenFront,
    machines: Machine[],
    config: AuthConfig,
    stopMs: number,
  ) {
    this.#lifetime = lifetime;
    this.#engine = engine;
    this.#front = front;
    this.#machines = machines;
    this.#config = config;
    this.#stopMs = stopMs;
    this.#homes = machines.map(() => TempHome.create(lifetime));
  }

  async #start(slot: number): Promise<void> {
    const machine = slot % machineCount;
    const [there, home] = [this.#machines[machine], this.#homes[machine]];
    if (there === undefined || home === undefined) return;
    const { store: _, stateDir: __, ...told } = this.#config;
    const config = { ...told, extraParameters: { process: `${slot}` }, pauseMs: 600 };
    const clock = WallClock.missing === undefined ? WallClock.create(home, `clock-${slot}`) : undefined;
    clock?.set(clocks[machine] as "+0");
    const store = JSON.stringify(this.#engine.toldThrough(this.#engine.port, there.engineHost));
    const env = home.env({ ...clock?.env, PLUGIN_AUTH_STORE: store });
    const child = Child.start(this.#lifetime, "soak-worker.mjs", {
      env,
      args: [JSON.stringify(config)],
      launcher: there.launcher,
    });
    await child.event("ready");
    this.#workers[slot] = { child, machine, isStopped: false };
    this.#listen(child, slot).catch(() => {
      // It was killed, or has ended.
    });
  }

  readonly #lastFailures: string[] = [];

  async #listen(child: Child, slot: number): Promise<void> {
    for (;;) {
      const told = (await child.event("asked")) as unknown as { tokens: number; failures: string[]; token?: string };
      this.#tokens += told.tokens;
      if (told.token !== undefined && !this.#front.given.has(told.token)) this.#wrong += 1;
      if (told.failures.length > 0) this.#lastFailures[slot] = told.failures.join();
      for (const code of told.failures) this.#failures[code] = (this.#failures[code] ?? 0) + 1;
      if (told.failures.includes("LOGIN_REQUIRED") && this.#relogin === undefined) {
        this.#relogin = this.#logInAgain().finally(() => {
          this.#relogin = undefined;
        });
      }
    }
  }

  async #logInAgain(): Promise<void> {
    const { state } = await status(this.#config).catch(() => ({ state: "unknown" }));
    if (state !== "login_required" && state !== "logged_out") return;
    this.#losses += 1;
    await approvedLogin(this.#config).catch(() => {});
  }

  /** One fault after another, two at once now and then. */
  async #endure(end: number): Promise<void> {
    const kinds: [string, () => Promise<void>][] = [
      ["engine killed", () => this.#engineDown(between(0, 4_000))],
      ["engine stopped", () => this.#engineFrozen(between(500, 8_000))],
      ["engine killed while a refresh is under way", () => this.#during(() => this.#engineDown(between(0, 2_000)))],
      ["engine stopped while a refresh is under way", () => this.#during(() => this.#engineFrozen(7_000))],
      ...(["deaf", "mute", "dropped", "slow"] as const).map((trouble): [string, () => Promise<void>] => [
        `network ${trouble}`,
        () => this.#cutOff(trouble),
      ]),
      ["holder cut off", () => this.#during((slot) => this.#cutOff("dropped", slot % machineCount))],
      ["holder stopped", () => this.#during((slot) => this.#stopped(slot, this.#stopMs))],
      ["holder killed", () => this.#during((slot) => this.#killed(slot))],
      ["process killed", () => this.#killed(Math.floor(Math.random() * this.#workers.length))],
    ];
    const chaos = async () => {
      let turn = Math.floor(Math.random() * kinds.length);
      while (Date.now() < end) {
        await pause(between(500, 4_000));
        const [name, act] = kinds[turn % kinds.length] ?? ["", async () => {}];
        turn += 1 + Math.floor(Math.random() * 3);
        await act();
        this.#faults[name] = (this.#faults[name] ?? 0) + 1;
      }
    };
    await Promise.all([chaos(), chaos()]);
  }

  #turn: Promise<void> = Promise.resolve();

  /** The engine is killed or stopped by one at a time. */
  #alone(act: () => Promise<void>): Promise<void> {
    this.#turn = this.#turn.then(act);
    return this.#turn;
  }

  #engineDown(milliseconds: number): Promise<void> {
    return this.#alone(async () => {
      await this.#engine.stop();
      await pause(milliseconds);
      await this.#engine.startAgain();
    });
  }

  #engineFrozen(milliseconds: number): Promise<void> {
    return this.#alone(async () => {
      this.#engine.freeze(true);
      await pause(milliseconds);
      this.#engine.freeze(false);
    });
  }

  async #cutOff(trouble: Trouble, at = Math.floor(Math.random() * machineCount)): Promise<void> {
    this.#machines[at]?.begin(trouble);
    await pause(between(2_000, 20_000));
    this.#machines[at]?.heal();
  }

  async #killed(slot: number): Promise<void> {
    const victim = this.#workers[slot];
    if (victim === undefined || victim.isStopped) return;
    victim.isStopped = true;
    victim.child.signal("SIGKILL");
    await victim.child.exit;
    await this.#start(slot);
  }

  async #stopped(slot: number, milliseconds: number): Promise<void> {
    const victim = this.#workers[slot];
    if (victim === undefined || victim.isStopped) return;
    victim.isStopped = true;
    victim.child.signal("SIGSTOP");
    await pause(milliseconds);
    victim.child.signal("SIGCONT");
    victim.isStopped = false;
  }

  /** While a refresh has been sent and not been answered. The fault goes on behind it. */
  async #during(act: (slot: number) => Promise<void>): Promise<void> {
    let acting: Promise<void> = Promise.resolve();
    await Promise.race([
      new Promise<void>((resolve) => {
        this.#front.beforeAnswer = async (form) => {
          this.#front.beforeAnswer = async () => {};
          acting = act(Number(form.get("process")));
          await pause(300);
          resolve();
        };
      }),
      pause(30_000),
    ]);
    await acting;
  }

  async #end(store: ReturnType<typeof storeOf>): Promise<StoreSoakSummary> {
    for (const machine of this.#machines) machine.heal();
    await this.#turn;
    // Connections that were cut off wait for TCP's next try, and the last faults may not be over.
    await pause(25_000);
    await this.#relogin;
    const last = await Promise.all(
      this.#workers.map(async ({ child }, slot) => {
        const event = child.event("last");
        child.send("end");
        const stuck = pause(60_000).then(() => ({ token: `process ${slot} gets none: ${this.#lastFailures[slot]}` }));
        return String((await Promise.race([event, stuck])).token);
      }),
    );
    const kept = JSON.parse((await store.read(place))?.value ?? "{}") as { access?: string };
    const without = last.filter((token) => !this.#front.given.has(token));
    if (without.length > 0) console.log(without.join("\n"));
    const recent = [...this.#front.given].slice(-3);
    const renewed = await getValidAccessToken(this.#config, { rejectedToken: kept.access ?? "" });
    const { refreshes, atOnce, overlaps, repeats } = this.#front;
    return {
      tokens: this.#tokens,
      failures: this.#failures,
      faults: this.#faults,
      refreshes,
      atOnce,
      overlaps,
      repeats,
      losses: this.#losses,
      wrong: this.#wrong,
      isWhole: last.every((token) => recent.includes(token)) && renewed !== kept.access,
    };
  }
}

function between(least: number, most: number): number {
  return least + Math.random() * (most - least);
}
