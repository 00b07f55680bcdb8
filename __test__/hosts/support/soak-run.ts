/**
 * A gateway with the lifetime plugin and one with a plugin without a login, side by side; see scripts/soak-host.mjs.
 */
import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { status } from "../../../index.js";
import { approvedLogin } from "../../support/login.ts";
import type { Gateway } from "./host.ts";
import { type LifetimeHost, lifetimeHost, plugin } from "./lifetime-plugin.ts";

interface Options {
  host: string;
  minutes: string;
  "reload-every": string;
  stops: string;
  accounts: string;
  dpop: boolean;
  "given-store": boolean;
}

interface Sample {
  threads: number;
  /** How many of each name. */
  named: Map<string, number>;
  descriptors: number;
  images: number;
  deleted: number;
}

const options = JSON.parse(process.argv[2] ?? "{}") as Options;
const seconds = 1000;
const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
/** The name of the library's threads. */
const ownThreads = "plugin-auth";
/**
 * Errors of calls while a plugin is being reloaded. The tool reports its own errors as "failed: …", so the last one is
 * the host's too.
 */
const isReloading = /not (found|available)|was reloaded|unknown tool|reload|tool execution failed/i;

/** The operating system's figures for a process. */
function sample(pid: number): Sample {
  const field = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
  const maps = readFileSync(`/proc/${pid}/maps`, "utf8");
  const ours = new Set(maps.match(/\S*clawdbot-plugin-auth\S*\.node/g));
  const deleted = new Map<string, number>();
  const count = (path: string) => {
    const { dev, ino, size } = statSync(path);
    deleted.set(`${dev}:${ino}`, size);
  };
  for (const line of maps.split("\n").filter((line) => /\/.* \(deleted\)$/.test(line) && !/memfd|SYSV/.test(line))) {
    try {
      count(`/proc/${pid}/map_files/${line.split(" ")[0]?.replace(/\b0+(?=[0-9a-f])/g, "")}`);
    } catch {}
  }
  const descriptors = readdirSync(`/proc/${pid}/fd`);
  for (const descriptor of descriptors) {
    try {
      const path = `/proc/${pid}/fd/${descriptor}`;
      if (/^\/.* \(deleted\)$/.test(readlinkSync(path)) && !/memfd/.test(readlinkSync(path))) count(path);
    } catch {}
  }
  const named = new Map<string, number>();
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      const name = readFileSync(`/proc/${pid}/task/${thread}/comm`, "utf8").trim();
      named.set(name, (named.get(name) ?? 0) + 1);
    } catch {}
  }
  return {
    threads: field("Threads"),
    named,
    descriptors: descriptors.length,
    images: ours.size,
    deleted: [...deleted.values()].reduce((sum, size) => sum + size, 0) / 1e6,
  };
}

/** The files of the plugin's logins with a refresh token in them that a process holds open, replaced ones included. */
function heldLogins(pid: number): string[] {
  const held: string[] = [];
  for (const descriptor of readdirSync(`/proc/${pid}/fd`)) {
    const path = `/proc/${pid}/fd/${descriptor}`;
    try {
      const name = readlinkSync(path);
      if (!/\/credentials\//.test(name)) continue;
      if (/"refresh":\s*"[^"]/.test(readFileSync(path, "utf8"))) held.push(name);
    } catch {}
  }
  return held;
}

interface Memory {
  /** How many registrations of the plugin there were, and how many are still reachable. */
  made: number;
  alive: number;
  /** The bytes of all that is reachable, and of all that is resident. */
  reachable: number;
  resident: number;
}

class Candidate {
  readonly name: string;
  readonly on: LifetimeHost;
  readonly gateway: Gateway;
  calls = 0;
  failures: string[] = [];
  first: Sample | undefined;
  /** The figures before anything was counted. */
  before: Memory = { made: 0, alive: 0, reachable: Number.NaN, resident: Number.NaN };

  static async start(name: string, hasLogin: boolean): Promise<Candidate> {
    const profiles = Array.from({ length: Number(options.accounts) }, (_, nth) => (nth === 0 ? "default" : `a${nth}`));
    const on = await lifetimeHost(lifetime, options.host, {
      hasLogin,
      logins: { dpop: options.dpop, profiles, inStore: options["given-store"] },
      server: { accessTokenTtl: 10 },
    });
    return new Candidate(name, on, await on.host.startGateway());
  }

  private constructor(name: string, on: LifetimeHost, gateway: Gateway) {
    this.name = name;
    this.on = on;
    this.gateway = gateway;
  }

  async call(): Promise<void> {
    const { status: code, text } = await this.gateway.tool("lifetime_token", {});
    this.calls += 1;
    const hasFailed = code !== 200 || text.includes("failed: ");
    if (hasFailed && !isReloading.test(text)) this.failures.push(text.slice(0, 200));
  }

  /** After collections in which the engine gives back all that it can. */
  async memory(): Promise<Memory> {
    for (;;) {
      const { status: code, text } = await this.gateway.tool("lifetime_alive", {});
      if (code === 200) return JSON.parse(JSON.parse(text).result.content[0].text);
      // It is being reloaded.
      await pause(100);
    }
  }

  reload(nth: number): void {
    this.on.host.configure({ plugins: { entries: { [plugin]: { config: { note: nth } } } } });
  }

  sample(): Sample {
    return sample(this.gateway.child.pid);
  }
}

const endings: (() => unknown)[] = [];
const lifetime = { after: (end: () => unknown) => void endings.push(end) };

/** Violations of the limits. */
const wrong: string[] = [];
function check(holds: boolean, what: string): void {
  if (!holds) wrong.push(what);
}

async function soak(): Promise<void> {
  const candidates = [await Candidate.start("with a login", true), await Candidate.start("without", false)];
  // Both have had their first calls before anything is counted.
  for (let warm = 0; warm < 10; warm += 1) {
    await Promise.all(candidates.map((one) => one.call()));
    await pause(1 * seconds);
  }
  for (const one of candidates) {
    one.before = await one.memory();
    one.first = one.sample();
  }
  console.log(`${options.host}, ${options.minutes} minutes, a reload every ${options["reload-every"]} s\n`);
  console.log(
    "| Minute | Plugin | Reloads | Calls | Failed | Refreshes | Memory, MB | Reachable, MB | Threads | Descriptors | Images | Deleted, MB | Registrations alive |",
  );
  console.log("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
  let reloads = 0;
  const row = async (minute: number | string) => {
    for (const one of candidates) {
      const { made, alive, reachable, resident } = await one.memory();
      const now = one.sample();
      const refreshes = (await one.on.server.requests({ grant: "refresh_token" })).length;
      const cells = [
        minute,
        one.name,
        reloads,
        one.calls,
        one.failures.length,
        refreshes,
        (resident / 1e6).toFixed(0),
        (reachable / 1e6).toFixed(1),
        now.threads,
      ];
      cells.push(now.descriptors, now.images, now.deleted.toFixed(1), `${alive} of ${made}`);
      console.log(`| ${cells.join(" | ")} |`);
    }
  };
  await row("start");
  const began = Date.now();
  const end = began + Number(options.minutes) * 60 * seconds;
  let nextReload = began + Number(options["reload-every"]) * seconds;
  let nextRow = began + 60 * seconds;
  while (Date.now() < end) {
    const turn = pause(1 * seconds);
    await Promise.all(candidates.map((one) => one.call()));
    if (Date.now() >= nextReload) {
      reloads += 1;
      for (const one of candidates) one.reload(reloads);
      nextReload += Number(options["reload-every"]) * seconds;
    }
    if (Date.now() >= nextRow) {
      await row(Math.round((nextRow - began) / (60 * seconds)));
      nextRow += 60 * seconds;
    }
    await turn;
  }
  await row("end");
  const grown: { perCopy: number; descriptors: number; threads: number }[] = [];
  for (const one of candidates) {
    const { alive, reachable, resident } = await one.memory();
    const now = one.sample();
    const first = one.first as Sample;
    const perReload = (bytes: number) => (bytes / 1e6 / Math.max(1, reloads)).toFixed(2);
    const more = [...now.named].flatMap(([name, count]) => {
      const grown = count - (first.named.get(name) ?? 0);
      return grown > 0 ? [`${grown} ${name}`] : [];
    });
    console.log(
      `\n${one.name}: a reload keeps ${perReload(reachable - one.before.reachable)} MB reachable, ` +
        `${perReload(resident - one.before.resident)} MB resident; threads ${signed(now.threads - first.threads)}` +
        `${more.length > 0 ? ` (${more.join(", ")})` : ""}, descriptors ${signed(now.descriptors - first.descriptors)}, ` +
        `images ${signed(now.images - first.images)}, deleted ${now.deleted.toFixed(1)} MB`,
    );
    check(now.images === first.images, `${one.name}: ${now.images} images are mapped, and were ${first.images}`);
    check(now.deleted === 0, `${one.name}: ${now.deleted} MB of deleted files are held`);
    const own = (now.named.get(ownThreads) ?? 0) - (first.named.get(ownThreads) ?? 0);
    grown.push({
      perCopy: (reachable - one.before.reachable) / Math.max(1, alive - one.before.alive),
      descriptors: now.descriptors - first.descriptors,
      threads: now.threads - first.threads - own,
    });
    check(one.failures.length === 0, `${one.name}: ${one.failures.length} calls failed`);
  }
  const [ours, theirs] = grown;
  if (ours !== undefined && theirs !== undefined) {
    check(
      ours.descriptors <= theirs.descriptors + 2,
      `${ours.descriptors} descriptors more, ${theirs.descriptors} without`,
    );
    check(
      ours.threads <= theirs.threads,
      `${ours.threads} threads of the host more, ${theirs.threads} without a login`,
    );
    const times = ours.perCopy / theirs.perCopy;
    console.log(
      `\na copy that the host keeps takes ${(ours.perCopy / 1e6).toFixed(2)} MB, ${times.toFixed(2)} times one without a login`,
    );
    // After few reloads, the collector's own work outweighs the memory that is kept. Where a host keeps no copies, so
    // does the memory that the library takes once.
    const isAsLittle = theirs.perCopy < 1e6 ? ours.perCopy <= theirs.perCopy + 0.3e6 : times <= 1.1;
    check(reloads < 10 || isAsLittle, `a copy that is kept takes ${times.toFixed(2)} times one without a login`);
  }
  for (const one of candidates) {
    for (const failure of new Set(one.failures)) console.log(`${one.name}: ${failure}`);
  }
  const [withLogin] = candidates;
  if (withLogin !== undefined) {
    const { state } = await status(withLogin.on.login);
    const refused = (await withLogin.on.server.requests({ grant: "refresh_token" })).filter(
      ({ status: code }) => code !== 200,
    );
    console.log(`the login is ${state}; refreshes refused: ${refused.length}`);
    check(refused.length === 0, `${refused.length} refreshes were refused`);
    check(state === "valid" || options["given-store"], `the login is ${state}`);
  }
  if (withLogin !== undefined) {
    const { pid } = withLogin.gateway.child;
    const before = heldLogins(pid).length;
    await withLogin.gateway.tool("lifetime_logout", {});
    const after = heldLogins(pid).length;
    console.log(`refresh tokens in /proc/<pid>/fd: ${before}; right after a logout: ${after}`);
    check(after === 0, `${after} refresh tokens are held after a logout`);
    // The service looks once more, and half a minute later the library's threads have nothing left to do.
    const count = () => sample(pid).named.get(ownThreads) ?? 0;
    for (const end = Date.now() + 90 * seconds; count() > 0 && Date.now() < end; ) await pause(1 * seconds);
    const threads = count();
    console.log(`threads of the library with nothing to do: ${threads}`);
    check(threads === 0, `${threads} threads of the library are left`);
  }
  for (const one of candidates) await one.gateway.stop();
}

/** Stopped in the middle of a refresh, which is answered within 4 s; how many logins were kept. */
async function stops(): Promise<void> {
  const count = Number(options.stops);
  if (count === 0) return;
  const { host, server, login } = await lifetimeHost(lifetime, options.host);
  const { path } = await status(login);
  const refresh = () => JSON.parse(readFileSync(path, "utf8")).refresh as string;
  let kept = 0;
  for (let nth = 1; nth <= count; nth += 1) {
    // On a busy machine openclaw gives its own start up after 5 s.
    const gateway = await host.startGateway().catch(() => host.startGateway());
    const spent = refresh();
    const held = await server.intercept({ grant: "refresh_token" }, { hold: "after" });
    await gateway.tool("lifetime_begin", {});
    await held.arrived;
    gateway.child.signal("SIGTERM");
    await pause(500 + 3_300 * (nth / count));
    await held.remove();
    await gateway.child.exit;
    if (refresh() !== spent) kept += 1;
    else await approvedLogin(login);
  }
  console.log(`\nStopped in the middle of a refresh: ${kept} of ${count} logins kept.`);
  check(kept === count, `${count - kept} logins were lost to a stop`);
}

const signed = (number: number) => (number > 0 ? `+${number}` : `${number}`);

try {
  if (Number(options.minutes) > 0) await soak();
  await stops();
  for (const what of wrong) console.log(`WRONG: ${what}`);
  process.exitCode = wrong.length === 0 ? 0 : 1;
} finally {
  for (const end of endings.reverse()) await end();
}
