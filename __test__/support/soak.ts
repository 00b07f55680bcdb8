/**
 * Days in miniature: access tokens that live two seconds, several processes that never stop asking for them, of which
 * all but one are killed at random, and a network that fails at random. The server's log must explain every loss.
 */
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { type AuthConfig, status } from "../../index.js";
import { AuthorizationServer, type LoggedRequest } from "./authorization-server.ts";
import { Child } from "./child.ts";
import type { Lifetime } from "./lifetime.ts";
import { approvedLogin, configFor } from "./login.ts";
import { networkFaults } from "./network-fault.ts";
import { Wire } from "./proxy.ts";
import { StoredCredential } from "./stored-credential.ts";
import { TempHome } from "./temp-home.ts";

export interface SoakOptions {
  milliseconds: number;
  /** How many processes; the first one is never killed. @default 4 */
  processes?: number;
  /** The seed of the plan of kills and outages. @default a new one each time */
  seed?: number;
}

export interface SoakSummary {
  seed: number;
  /** Calls that resolved, and those that were rejected, by code. */
  tokens: number;
  failures: Record<string, number>;
  /** All requests that the server has seen, and the refreshes that it answered with tokens. */
  requests: number;
  refreshes: number;
  kills: number;
  outages: number;
  /** Logins that ended. */
  losses: number;
  /** The losses where a process was killed between the server's rotation and the saving of its answer. */
  explainedLosses: number;
  /** Tokens that the processes got when all was over. */
  finalTokens: string[];
  /** The process that was never killed, after warm-up and at the end. */
  survivor: { refreshes: number; memory: Change; descriptors: Change };
}

export interface Change {
  before: number;
  after: number;
}

interface Worker {
  child: Child;
  /** The mark of its requests. */
  mark: string;
}

interface Kill {
  /** How many requests the server had seen before. */
  requests: number;
  /** The refresh token that the file held afterwards. */
  refresh: string | undefined;
}

interface Sample {
  memory: number;
  descriptors: number;
}

/** The part of the run that counts as warm-up, and how much of each end is looked at for the comparison. */
const warmUp = 0.25;
const window = 0.25;

export class Soak {
  readonly #server: AuthorizationServer;
  readonly #wire: Wire;
  readonly #home: TempHome;
  readonly #credential: StoredCredential;
  readonly #config: AuthConfig;
  readonly #lifetime: Lifetime;
  readonly #random: () => number;
  readonly #workers: Worker[] = [];
  readonly #killed = new Map<string, Kill>();
  readonly #failures: Record<string, number> = {};
  readonly #samples: Sample[] = [];
  #incarnations = 0;
  #tokens = 0;
  #outages = 0;
  #relogin: Promise<unknown> | undefined;

  static async run(lifetime: Lifetime, options: SoakOptions): Promise<SoakSummary> {
    const { processes = 4, seed = Date.now() % 2 ** 31 } = options;
    const server = await AuthorizationServer.start(lifetime, { accessTokenTtl: 2 });
    const wire = await Wire.start(lifetime, server.origin);
    const soak = new Soak(lifetime, server, wire, seed);
    await approvedLogin(soak.#config);
    for (let slot = 0; slot < processes; slot += 1) {
      await soak.#start(slot);
    }
    const finalTokens = await soak.#endure(options.milliseconds);
    return soak.#summary(seed, finalTokens);
  }

  private constructor(lifetime: Lifetime, server: AuthorizationServer, wire: Wire, seed: number) {
    this.#lifetime = lifetime;
    this.#server = server;
    this.#wire = wire;
    this.#home = TempHome.create(lifetime);
    this.#credential = new StoredCredential(this.#home.credentialPath("memory"));
    this.#random = sequence(seed);
    const { tokenEndpoint, ...direct } = server.endpoints;
    this.#config = configFor(server, this.#home.stateDir, {
      ...direct,
      tokenEndpoint: wire.through(tokenEndpoint),
      // The cost of a stall.
      requestTimeoutMs: 1000,
    });
  }

  async #endure(milliseconds: number): Promise<string[]> {
    const end = Date.now() + milliseconds;
    await Promise.all([this.#kill(end), this.#breakNetwork(end), this.#watch(end)]);
    const last = this.#workers.map(({ child }) => {
      const event = child.event("last");
      child.send("end");
      return event;
    });
    return (await Promise.all(last)).map(({ token }) => String(token));
  }

  async #start(slot: number): Promise<void> {
    this.#incarnations += 1;
    const mark = `${slot}-${this.#incarnations}`;
    const config = { ...this.#config, extraParameters: { process: mark } };
    const options = { env: this.#home.env(), args: [JSON.stringify(config)], nodeOptions: ["--expose-gc"] };
    const child = Child.start(this.#lifetime, "soak-worker.mjs", options);
    await child.event("ready");
    this.#workers[slot] = { child, mark };
    this.#listen(child).catch(() => {
      // It was killed, or has ended.
    });
  }

  async #listen(child: Child): Promise<void> {
    for (;;) {
      const { tokens, failures } = (await child.event("asked")) as unknown as { tokens: number; failures: string[] };
      this.#tokens += tokens;
      for (const code of failures) {
        this.#failures[code] = (this.#failures[code] ?? 0) + 1;
      }
      if (failures.includes("LOGIN_REQUIRED") && this.#relogin === undefined) {
        this.#relogin = this.#logInAgain().finally(() => {
          this.#relogin = undefined;
        });
      }
    }
  }

  async #logInAgain(): Promise<void> {
    // The report may be older than the last login.
    if ((await status(this.#config)).state === "login_required") {
      await approvedLogin(this.#config);
    }
  }

  async #kill(end: number): Promise<void> {
    for (;;) {
      const wait = this.#between(200, 1200);
      if (Date.now() + wait >= end) {
        return;
      }
      await pause(wait);
      const slot = 1 + Math.floor(this.#random() * (this.#workers.length - 1));
      const victim = this.#workers[slot];
      if (victim !== undefined) {
        const requests = (await this.#server.requests()).length;
        victim.child.signal("SIGKILL");
        await victim.child.exit;
        this.#killed.set(victim.mark, { requests, refresh: this.#credential.read().refresh });
        await this.#start(slot);
      }
    }
  }

  async #breakNetwork(end: number): Promise<void> {
    // Not those that break open connections, with an answer on its way, and not those that ask for minutes of pause.
    const faults = networkFaults.filter(
      ({ name, retryAfterMs }) => name !== "connection refused" && retryAfterMs === undefined,
    );
    for (;;) {
      const [peace, trouble] = [this.#between(2000, 6000), this.#between(300, 3000)];
      const fault = faults[Math.floor(this.#random() * faults.length)];
      if (fault === undefined || Date.now() + peace + trouble >= end) {
        return;
      }
      await pause(peace);
      await fault.begin(this.#wire);
      this.#outages += 1;
      await pause(trouble);
      this.#wire.misbehave();
    }
  }

  async #watch(end: number): Promise<void> {
    const pid = this.#workers[0]?.child.pid;
    while (Date.now() < end) {
      const pages = Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]);
      this.#samples.push({ memory: pages * 4096, descriptors: readdirSync(`/proc/${pid}/fd`).length });
      await pause(250);
    }
  }

  async #summary(seed: number, finalTokens: string[]): Promise<SoakSummary> {
    const requests = await this.#server.requests();
    const refreshes = requests.filter(({ grant }) => grant === "refresh_token");
    const refused = refreshes.filter(({ status }) => status === 400);
    // The first to send that refresh token was killed before it had saved the next one, and held the lock until then.
    const explained = refused.filter((second) => {
      const first = refreshes.find((other) => tokenOf(other) === tokenOf(second));
      const kill = first && this.#killed.get(markOf(first));
      return kill?.refresh === tokenOf(second) && second.sequence > kill.requests;
    });
    const succeeded = refreshes.filter(({ status }) => status === 200);
    return {
      seed,
      tokens: this.#tokens,
      failures: this.#failures,
      requests: requests.length,
      refreshes: succeeded.length,
      kills: this.#killed.size,
      outages: this.#outages,
      losses: refused.length,
      explainedLosses: explained.length,
      finalTokens,
      survivor: {
        refreshes: succeeded.filter((request) => markOf(request) === "0-1").length,
        memory: this.#change("memory"),
        descriptors: this.#change("descriptors"),
      },
    };
  }

  /** The least within a stretch: descriptors that a call in progress has open for a moment do not count. */
  #change(member: keyof Sample): Change {
    const values = this.#samples.map((sample) => sample[member]);
    const least = (from: number, to: number) =>
      Math.min(...values.slice(Math.floor(values.length * from), Math.ceil(values.length * to)));
    return { before: least(warmUp, warmUp + window), after: least(1 - window, 1) };
  }

  #between(least: number, most: number): number {
    return least + this.#random() * (most - least);
  }
}

function tokenOf({ form }: LoggedRequest): string {
  return String(form?.refresh_token);
}

function markOf({ form }: LoggedRequest): string {
  return String(form?.process);
}

/** Numbers from 0 to 1 that depend on the seed alone (mulberry32). */
function sequence(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
