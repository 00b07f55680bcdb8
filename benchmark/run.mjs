// `npm run bench`: every comparison, one table, and the same in benchmark/RESULTS.md. Some six minutes.
//
//   node benchmark/run.mjs [part …]          only these of fast-path, forms, refresh, herd, start, stores, growth, instructions
//   node benchmark/run.mjs --against DIR     another checkout with its release build as well, in turn: what each row is beside it
//
// With either, nothing is written.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import os from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { build, isBuilt } from "../scripts/build.mjs";
import { buildPlugin } from "../scripts/build-plugin.mjs";
import { platforms } from "../scripts/platforms.mjs";
import { root, setUp } from "../scripts/setup.mjs";
import { median, merged, summary } from "./measure.mjs";
import { Scratch } from "./scratch.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const nodes = [20, 22, 24];
const rivals = ["openid-client", "oauth4webapi"];
/** No child takes longer, unless it hangs. */
const PATIENCE = 180_000;

const wanted = process.argv.slice(2);
const at = wanted.indexOf("--against");
const other = at === -1 ? undefined : resolve(wanted.splice(at, 2)[1] ?? "");
/** The builds that are measured, and by which name a process knows that it is to load which. */
const builds = other === undefined ? { ours: root } : { ours: root, before: other };
const rows = [];

/** A line of the table: times in nanoseconds, or a text; `before`: the same of the other build. */
function row(part, what, times, { note = "", reference, before, turns = 1, show = duration } = {}) {
  const texts = typeof times === "string" ? [times, ""] : [show(median(times)), show(Math.min(...times))];
  const ratio = reference === undefined ? note : `${summary(times, reference).ratio.toFixed(2)}${note}`;
  const beside = before === undefined ? "" : paired(times, before, turns).toFixed(2);
  rows.push([part, what, ...texts, ratio, ...(other === undefined ? [] : [beside])]);
}

/** The median of what the builds' turns are to one another: a machine that is slow for a while is so for both. */
function paired(times, before, turns) {
  const of = (all, turn) => median(all.slice((turn * all.length) / turns, ((turn + 1) * all.length) / turns));
  return median(Array.from({ length: turns }, (_, turn) => of(times, turn) / of(before, turn)));
}

/** The results of a program for each build, round after round in turn. */
async function ofEach(args, { rounds = 1, program = process.execPath, env } = {}) {
  const found = {};
  const turns = other === undefined ? 1 : rounds;
  for (let turn = 0; turn < turns; turn += 1) {
    for (const name of Object.keys(builds))
      found[name] = merged(found[name], await result(args, name, { program, env }));
  }
  return found;
}

const parts = {
  async "fast-path"() {
    for (const node of nodes) {
      // Two processes of one build differ by more than the builds do: many short ones, in turn.
      const few = Math.ceil((node === nodes[0] ? 60 : 30) / (other === undefined ? 1 : 4));
      const args = [join(here, "fast-path.mjs"), String(few)];
      const turns = 7;
      const { ours, before } = await ofEach(args, { rounds: turns, program: binary(node) });
      // One row of the others is enough: they differ little.
      const shown = node === nodes[0] ? ours.results : ours.results.slice(0, 1);
      for (const [index, { profiles, together, times }] of shown.entries()) {
        const { getValidAccessToken: mine, ...others } = times;
        const part = `fresh, Node ${node}`;
        const versus = ["(a)", "(c)", "(d)"].map((letter) => {
          const [, theirs] = Object.entries(others).find(([name]) => name.startsWith(letter));
          return `${summary(mine, theirs).ratio.toFixed(2)} × ${letter}`;
        });
        const of = profiles === 1 ? "" : `, ${profiles} accounts in turn`;
        const at = together === 1 ? "" : `, ${together} at once`;
        row(part, `getValidAccessToken${of}${at}`, mine, {
          note: versus.join(", "),
          before: before?.results[index].times.getValidAccessToken,
          turns,
        });
        if (node !== nodes[0] || index > 0) continue;
        for (const [name, theirs] of Object.entries(others)) row(part, name, theirs);
      }
      if (node !== nodes[0]) continue;
      const part = `event loop blocked, Node ${node}`;
      const { fresh, first, readFileSync: reading } = ours.blocked;
      row(part, "fresh token", fresh, {
        reference: reading,
        note: " × readFileSync + JSON.parse",
        before: before?.blocked.fresh,
        turns,
      });
      row(part, "first look at a file", first, { before: before?.blocked.first, turns });
    }
  },

  async forms() {
    const args = [join(here, "forms.mjs"), String(other === undefined ? 40 : 12)];
    const { ours, before } = await ofEach(args, { rounds: 4 });
    const part = "as it is called";
    for (const [name, times] of Object.entries(ours.fast)) {
      const reference = name === "cache + statSync" ? undefined : ours.fast["cache + statSync"];
      const note = reference && " × cache + statSync";
      row(part, name, times, { reference, note, before: reference && before?.fast[name] });
    }
    const [[name, mine], ...others] = Object.entries(ours.proofs);
    const versus = others.map(([of, times]) => `${summary(mine, times).ratio.toFixed(2)} × ${of}`).join(", ");
    row(part, name, mine, { note: versus, before: before?.proofs[name] });
    for (const [what, reference] of [
      ["status of an order of 20, 19 logged out", "status of one account"],
      ["getValidAccessToken of an order of 20, 19 logged out", "getValidAccessToken of one account"],
    ]) {
      row(part, what, ours.accounts[what], {
        reference: ours.accounts[reference],
        note: " × one account",
        before: before?.accounts[what],
      });
    }
    for (const [what, times] of Object.entries(ours.list)) row(part, what, times, { before: before?.list[what] });
    for (const [kit, plain] of [
      ["the kit's fetch", "fetch"],
      ["the kit's fetch, { signal }", "fetch, { signal }"],
    ]) {
      row(part, `${kit}, to loopback`, ours.fetches[kit], {
        reference: ours.fetches[plain],
        note: ` × ${plain}`,
        before: before?.fetches[kit],
      });
    }
  },

  async refresh() {
    const names = [...Object.keys(builds), ...rivals, "fetch", "connection", "disk"];
    const titles = {
      fetch: "the network alone, on a kept connection (fetch)",
      connection: "the network alone, on a new connection (https)",
      disk: "the disk alone: written, fsync, renamed, fsync of the folder",
    };
    const found = {};
    await withEndpoint(0, async (scratch, issuer) => {
      for (let round = 0; round < 11; round += 1) {
        for (const name of names) {
          scratch.store(name, { issuer, life: -1000 });
          const args = [join(here, "refresh.mjs"), name, scratch.path, issuer, "15"];
          const { cold, warm, memory } = await result(args, name, { env: scratch.env() });
          found[name] = merged(found[name], { cold: [cold], warm, memory: [memory] });
        }
      }
    });
    const { ours, before } = found;
    const others = [...rivals, "fetch", "connection"];
    for (const kind of ["cold", "warm"]) {
      const part = `refresh over TLS, ${kind}`;
      const versus = others.map((name) => `${summary(ours[kind], found[name][kind]).ratio.toFixed(2)} × ${name}`);
      row(part, "getValidAccessToken", ours[kind], { note: versus.join(", "), before: before?.[kind] });
      for (const name of kind === "warm" ? [...others, "disk"] : []) {
        row(part, titles[name] ?? `${name} + lock + atomic write`, found[name][kind]);
      }
    }
    const memory = (name) => `${bytes(median(found[name].memory))} ${name}`;
    row("refresh over TLS, memory", "getValidAccessToken, loading included", ours.memory, {
      show: bytes,
      note: [...rivals, "fetch"].map(memory).join(", "),
      before: before?.memory,
    });
  },

  async herd() {
    const names = [...Object.keys(builds), ...rivals];
    const found = {};
    await withEndpoint(200, async (scratch, issuer, requests) => {
      for (let round = 0; round < 3; round += 1) {
        for (const name of names) {
          scratch.store(name, { issuer, life: -1000 });
          const herd = await stampede(32, [join(here, "herd.mjs"), name, scratch.path, issuer], name, scratch.env());
          const first = Math.min(...herd.map((one) => one.first));
          const last = Math.max(...herd.map((one) => one.last));
          const began = Math.min(...herd.map((one) => one.started));
          found[name] = merged(found[name], {
            spread: [(last - first) * 1e6],
            whole: [(last - began) * 1e6],
            requests: [await requests()],
          });
        }
      }
    });
    for (const name of names.filter((name) => name !== "before")) {
      const { spread, whole, requests } = found[name];
      const versus =
        name === "ours" ? "" : `ours is ${(median(found.ours.spread) / median(spread)).toFixed(2)} × this; `;
      row("herd, 32 processes × 10 calls", `${name}: last caller after the first`, spread, {
        note: `${versus}all in ${duration(median(whole))}, requests: ${requests.join(", ")}`,
        before: name === "ours" ? found.before?.spread : undefined,
      });
    }
  },

  async start() {
    const packages = ["clawdbot-plugin-auth", "openid-client", "@azure/msal-node", "google-auth-library"];
    const found = {};
    const scratch = new Scratch();
    scratch.store();
    for (let round = 0; round < 15; round += 1) {
      const subjects = [["nothing"], ...packages.map((name) => [name]), ["first token"]];
      if (other !== undefined) subjects.push(["clawdbot-plugin-auth", "before"], ["first token", "before"]);
      for (const [what, name = "ours"] of subjects) {
        const args = ["--expose-gc", join(here, "start.cjs"), what, scratch.path];
        const { time, memory, threads, processor } = await result(args, name);
        const key = name === "before" ? `${what}, before` : what;
        found[key] = merged(found[key], { time: [time], memory: [memory], threads: [threads], processor: [processor] });
      }
    }
    scratch.remove();
    const grown = ({ memory }) => memory.map((size, round) => size - found.nothing.memory[round]);
    const more = ({ processor }) => median(processor.map((time, round) => time - found.nothing.processor[round]));
    for (const name of packages) {
      const one = found[name];
      const size = name === packages[0] ? ownSize() : installedSize(name);
      const memory = `${bytes(median(grown(one)))} of memory, ${Math.max(...one.threads)} threads`;
      row("loading", name, one.time, {
        note: `${memory}, ${duration(more(one))} of processor, ${bytes(size)} installed`,
        before: found[`${name}, before`]?.time,
      });
    }
    if (other !== undefined) {
      row("loading", "clawdbot-plugin-auth, memory", grown(found[packages[0]]), {
        show: bytes,
        before: grown(found[`${packages[0]}, before`]),
      });
    }
    const first = found["first token"];
    row("loading", "and the first token, fresh, from its file", first.time, {
      note: `${bytes(median(grown(first)))} of memory, ${Math.max(...first.threads)} threads`,
      before: found["first token, before"]?.time,
    });
    const platform = platforms.find(({ binary }) => existsSync(join(root, binary)));
    const size = (path) => (existsSync(path) ? `${statSync(path).size.toLocaleString("en")} B` : "not built here");
    row("binary", `${platform.binary}, as published`, size(join(platform.folder, platform.binary)), {
      note: `${size(join(root, platform.binary))} as built in a checkout; of ${crates()}`,
    });
  },

  /** The engines that are there: `npm test` and `npm run test:long` install them. */
  async stores() {
    for (const engine of ["postgres", "redis", "valkey", "etcd"]) {
      const args = ["--import", "tsx", join(here, "stores.mjs"), engine, "50"];
      const { unavailable, seen, writes, fresh, queries } = await result(args, "ours");
      const part = `store: ${engine}`;
      if (unavailable !== undefined) {
        row(part, unavailable, "");
        continue;
      }
      row(part, "fresh token", fresh.store, { reference: fresh.file, note: ` × of a file; ${queries} queries` });
      for (const [what, times] of Object.entries(seen)) {
        const note = `worst ${duration(Math.max(...times))}; the engine's answer to the write alone ${duration(median(writes))}`;
        row(part, `another machine's ${what}, from its write to the first call here that sees it`, times, { note });
      }
    }
  },

  async growth() {
    const { ours, before } = await ofEach([join(here, "growth.mjs")], { rounds: 2 });
    const [single] = ours.profiles;
    const many = ours.profiles.at(-1);
    const manyBefore = before?.profiles.at(-1);
    for (const [key, what] of [
      ["token", "getValidAccessToken, all in turn"],
      ["status", "status"],
    ]) {
      row(`growth, ${median(many.count)} profiles`, what, many[key], {
        note: `${(median(many[key]) / median(single[key])).toFixed(2)} × 1 profile`,
        before: manyBefore?.[key],
      });
    }
    const large = ours.sizes.at(-1);
    const part = `growth, token of ${median(large.size).toLocaleString("en")} characters`;
    for (const [key, what] of [
      ["first", "just written: read again"],
      ["fresh", "fresh"],
    ]) {
      row(part, what, large[key], {
        note: `${(median(large[key]) / median(ours.sizes[0][key])).toFixed(2)} × ${median(ours.sizes[0].size)} characters`,
        before: before?.sizes.at(-1)[key],
      });
    }
    const scratch = new Scratch();
    scratch.store();
    const times = [];
    for (const count of [1, 64]) {
      const all = Array.from({ length: count }, () =>
        result([join(here, "growth.mjs"), scratch.path], "ours", { env: scratch.env() }),
      );
      times.push((await Promise.all(all)).map(({ perCall }) => perCall));
    }
    scratch.remove();
    const [alone, together] = times;
    row("growth, 64 processes", "getValidAccessToken, processor time", together, {
      note: `${(median(together) / median(alone)).toFixed(2)} × 1 process`,
    });
  },

  async instructions() {
    if (spawnSync("valgrind", ["--version"]).status !== 0) {
      row("instructions", "valgrind is not installed", "");
      return;
    }
    const kinds = [
      ["fresh", "fresh token", 1000, 0],
      ["signal", "fresh token, { signal }", 1000, 0],
      ["made", "fresh token, a config object made at each call", 1000, 0],
      ["headers", "bearer headers", 1000, 0],
      ["proof", "headers with a proof", 100, 0],
      ["status", "status", 500, 0],
      ["list", "listProfiles of 100, one profile", 20, 0],
      ["config", "another config at each call: parsed, file looked at", 500, 0],
      ["small", "file of 1 KB read and parsed", 60, 800],
      ["large", "file of 100 KB read and parsed", 60, 100_000],
    ];
    for (const [kind, title, count, size] of kinds) {
      const each = Object.keys(builds).map((name) => {
        const scratch = new Scratch();
        scratch.store();
        for (let file = 0; size > 0 && file < 2 * count; file += 1) scratch.store(`${kind}-${file}`, { size });
        const [once, twice] = [count, 2 * count].map((calls) => instructions(scratch, kind, calls, name));
        scratch.remove();
        return (twice - once) / count / (kind === "list" ? 100 : 1);
      });
      row("instructions in the addon", title, [each[0]], {
        show: (number) => Math.round(number).toLocaleString("en"),
        note: "per call, by callgrind",
        before: each[1] === undefined ? undefined : [each[1]],
      });
    }
  },
};

/** Runs a program that reports one line of JSON about the build of that name. */
async function result(args, name, { program = process.execPath, env = process.env } = {}) {
  const child = spawn(program, args, {
    env: { ...env, BENCHMARKED: builds[name] ?? root },
    stdio: ["ignore", "pipe", "inherit"],
    cwd: root,
    timeout: PATIENCE,
  });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text) => {
    output += text;
  });
  const [code, signal] = await once(child, "close");
  if (code !== 0) throw new Error(`${args.join(" ")} failed (${signal ?? `exit code ${code}`})`);
  return JSON.parse(output);
}

/** All start, wait, and go at once. */
async function stampede(count, args, name, env) {
  const children = Array.from({ length: count }, () => {
    const child = spawn(process.execPath, args, {
      env: { ...env, BENCHMARKED: builds[name] ?? root },
      stdio: ["pipe", "pipe", "inherit"],
      timeout: PATIENCE,
    });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const next = async () => {
      const { value, done } = await lines.next();
      if (done) throw new Error(`${args.join(" ")} ended early`);
      return JSON.parse(value);
    };
    return { child, next };
  });
  await Promise.all(children.map(({ next }) => next()));
  for (const { child } of children) child.stdin.write("go\n");
  const ended = await Promise.all(children.map(({ next }) => next()));
  for (const { child } of children) child.stdin.end();
  return ended;
}

async function withEndpoint(delay, work) {
  const scratch = new Scratch();
  const child = spawn(process.execPath, [join(here, "token-endpoint.mjs"), String(delay)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => JSON.parse((await lines.next()).value);
  const { port } = await next();
  const requests = async () => {
    child.stdin.write("\n");
    return (await next()).requests;
  };
  try {
    await work(scratch, `https://localhost:${port}`, requests);
  } finally {
    child.stdin.end();
    await once(child, "close");
    scratch.remove();
  }
}

/** The instructions that the addon's own code took in a run of that many calls. */
function instructions(scratch, kind, calls, name) {
  const listing = join(scratch.path, "callgrind.out");
  const options = ["--tool=callgrind", `--callgrind-out-file=${listing}`, "--smc-check=all-non-file"];
  const program = [process.execPath, join(here, "instructions.mjs"), kind, String(calls), scratch.path];
  const env = { ...process.env, BENCHMARKED: builds[name] };
  const { status, stderr } = spawnSync("valgrind", [...options, ...program], {
    encoding: "utf8",
    env,
    timeout: PATIENCE,
  });
  if (status !== 0) throw new Error(`callgrind failed:\n${stderr}`);
  let [sum, isOurs, isInclusive] = [0, false, false];
  const ours = new Set();
  for (const line of readFileSync(listing, "utf8").split("\n")) {
    const [, object, number, file] = /^(c?ob)=\((\d+)\)(?: (.*))?$/.exec(line) ?? [];
    if (file?.includes("clawdbot-plugin-auth.")) ours.add(number);
    if (object === "ob") isOurs = ours.has(number);
    else if (line.startsWith("calls=")) isInclusive = true;
    else if (/^[-+*\d]/.test(line)) {
      if (isOurs && !isInclusive) sum += Number(line.split(" ")[1]);
      isInclusive = false;
    }
  }
  return sum;
}
function ownSize() {
  const { files } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const published = [...files, "package.json", "README.md", "LICENSE"];
  const binaries = readdirSync(root).filter((name) => /^clawdbot-plugin-auth\..+\.node$/.test(name));
  return [...published, ...binaries].reduce((sum, name) => sum + diskUse(join(root, name)), 0);
}

/** Of a rival with all that it depends on. */
function installedSize(name) {
  const { packages } = JSON.parse(readFileSync(join(here, "package-lock.json"), "utf8"));
  const wanted = new Set();
  const want = (dependency, from) => {
    for (let folder = from; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf("/node_modules/")))) {
      const path = `${folder === "" ? "" : `${folder}/`}node_modules/${dependency}`;
      if (packages[path] !== undefined) {
        if (wanted.has(path)) return;
        wanted.add(path);
        for (const further of Object.keys(packages[path].dependencies ?? {})) want(further, path);
        return;
      }
      if (folder === "") return;
    }
  };
  want(name, "");
  if (name === "@azure/msal-node") want("@azure/msal-node-extensions", "");
  return [...wanted].reduce((sum, path) => sum + diskUse(join(here, path)), 0);
}

function diskUse(path) {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) return 0;
  if (!found.isDirectory()) return found.size;
  const entries = readdirSync(path).filter((name) => name !== "node_modules");
  return entries.reduce((sum, name) => sum + diskUse(join(path, name)), 0);
}

function crates() {
  const { stdout } = spawnSync("cargo", ["tree", "--locked", "-e", "normal", "--prefix", "none", "-f", "{p}"], {
    encoding: "utf8",
    cwd: root,
  });
  const names = stdout.split("\n").map((line) => line.split(" ").slice(0, 2).join(" "));
  const count = new Set(names.filter((name) => name !== "" && !name.startsWith("clawdbot"))).size;
  return `${count} crates, those that only run while compiling included`;
}

function duration(nanoseconds) {
  if (nanoseconds === undefined) return "";
  if (Math.abs(nanoseconds) < 10_000) return `${nanoseconds.toFixed(0)} ns`;
  if (Math.abs(nanoseconds) < 10_000_000) return `${(nanoseconds / 1000).toFixed(1)} µs`;
  return `${(nanoseconds / 1_000_000).toFixed(1)} ms`;
}

function bytes(count) {
  return `${(count / 1024 / 1024).toFixed(2)} MiB`;
}

function binary(major) {
  if (process.versions.node.startsWith(`${major}.`)) return process.execPath;
  const folder = join(root, "__test__", "nodes", String(major), "node_modules");
  const name = process.platform === "win32" ? "node.exe" : "node";
  for (const kind of ["node", "node-bin"]) {
    const path = join(folder, `${kind}-${platform()}-${process.arch}`, "bin", name);
    if (statSync(path, { throwIfNoEntry: false }) !== undefined) return path;
  }
  throw new Error(`Node ${major} is missing in ${folder}`);
}

function platform() {
  return process.platform === "win32" ? "win" : process.platform;
}

function table() {
  const head = ["Where", "What", "median", "least", "compared", ...(other === undefined ? [] : [`× ${other}`])];
  const lines = [head, head.map(() => "---"), ...rows];
  return lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

function versionOf(program, args) {
  return (spawnSync(program, args, { encoding: "utf8" }).stdout ?? "").split("\n")[0].split(" (")[0];
}

function circumstances(load) {
  const { dependencies } = JSON.parse(readFileSync(join(here, "package.json"), "utf8"));
  const cpu = os.cpus();
  const compared = Object.entries(dependencies).map(([name, version]) => `${name} ${version}`);
  return [
    `- Machine: ${cpu[0]?.model}, ${cpu.length} cores, ${(os.totalmem() / 2 ** 30).toFixed(0)} GiB; ${os.type()} ${os.release()}.`,
    `- Load average at the start ${load[0].toFixed(1)}, at the end ${os.loadavg()[0].toFixed(1)}: above the number of cores, only ratios and least times say much.`,
    `- Versions: ${nodes.map((node) => versionOf(binary(node), ["--version"])).join(", ")}; ${versionOf("rustc", ["--version"])}; ${compared.join(", ")}.`,
    "- Command: `npm run bench`. Parts not said to be of another Node run on the first one.",
  ].join("\n");
}

async function main() {
  await setUp({ nodes, rivals: true });
  if ((!isBuilt({ release: true }) && (await build()) !== 0) || (await buildPlugin()) !== 0) return 1;
  const load = os.loadavg();
  let isWell = true;
  for (const name of wanted.length > 0 ? wanted : Object.keys(parts)) {
    const started = Date.now();
    try {
      await parts[name]();
    } catch (error) {
      // The other results are useful anyway.
      isWell = false;
      row(name, `failed: ${error.message.split("\n")[0]}`, "");
      console.error(error);
    }
    console.error(`${name}: ${((Date.now() - started) / 1000).toFixed(0)} s`);
  }
  const [, explanation = ""] = readFileSync(join(here, "README.md"), "utf8").split("## How to read the table\n");
  const page = `# Results\n\n${circumstances(load)}\n\n${explanation.trim()}\n\n${table()}\n`;
  process.stdout.write(page);
  if (isWell && wanted.length === 0 && other === undefined) writeFileSync(join(here, "RESULTS.md"), page);
  return isWell ? 0 : 1;
}

process.exitCode = await main();
