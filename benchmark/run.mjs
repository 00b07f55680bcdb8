// `npm run bench`: every comparison, one table, and the same in benchmark/RESULTS.md. A few minutes.
//
//   node benchmark/run.mjs [fast-path forms refresh herd start growth instructions]   all parts, or only these (nothing is written)
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import os from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { build, isBuilt } from "../scripts/build.mjs";
import { platforms } from "../scripts/platforms.mjs";
import { root, setUp } from "../scripts/setup.mjs";
import { median, summary } from "./measure.mjs";
import { Scratch } from "./scratch.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const nodes = [20, 22, 24];
const rivals = ["openid-client", "oauth4webapi"];
const rows = [];

/** A line of the table: times in nanoseconds, or texts. */
function row(part, what, times, { ratio = "", reference } = {}) {
  const { median: middle, min, max, ratio: quotient } = summary(times, reference);
  const text = quotient === undefined ? ratio : `${quotient.toFixed(2)}${ratio}`;
  rows.push([part, what, duration(middle), duration(min), duration(max), text]);
}

const parts = {
  async "fast-path"() {
    for (const node of nodes) {
      const { results, blocked } = await result(binary(node), [join(here, "fast-path.mjs")]);
      const single = results[0].times.getValidAccessToken;
      for (const { profiles, together, times } of results) {
        const { getValidAccessToken: ours, ...others } = times;
        const part = `Node ${node}, ${profiles} profile${profiles > 1 ? "s" : ""}, ${together} at once`;
        const against = (name) =>
          summary(ours, Object.entries(others).find(([other]) => other.startsWith(name))[1]).ratio;
        const versus = ["(a)", "(c)", "(d)"].map((name) => `${against(name).toFixed(2)} × ${name}`).join(", ");
        row(part, "getValidAccessToken", ours, {
          ratio: `${versus}, ${(median(ours) / median(single)).toFixed(2)} × 1 at once`,
        });
        if (profiles === 1 && together === 1) {
          for (const [name, theirs] of Object.entries(others)) row(part, name, theirs);
        }
      }
      const part = `Node ${node}, event loop blocked`;
      row(part, "fresh token", blocked.fresh, {
        reference: blocked.readFileSync,
        ratio: " × readFileSync + JSON.parse",
      });
      row(part, "fresh token, a new config object each time", blocked.newConfig);
      row(part, "first look at a file", blocked.first);
      row(part, "readFileSync + JSON.parse", blocked.readFileSync);
    }
  },

  async forms() {
    const { fast, proofs, accounts, list, fetches } = await result(process.execPath, [join(here, "forms.mjs")]);
    const part = "as it is called";
    for (const [name, times] of Object.entries(fast)) {
      row(part, name, times, { reference: fast["cache + statSync"], ratio: " × cache + statSync" });
    }
    const [[ours, mine], ...others] = Object.entries(proofs);
    row(part, ours, mine);
    for (const [name, times] of others) {
      row(part, name, times, { ratio: `ours is ${summary(mine, times).ratio.toFixed(2)} × this` });
    }
    const [[one, alone], [order, ofTwenty], [token, aloneToken], [orderToken, tokenOfTwenty]] =
      Object.entries(accounts);
    row(part, one, alone);
    row(part, order, ofTwenty, { reference: alone, ratio: " × one" });
    row(part, token, aloneToken);
    row(part, orderToken, tokenOfTwenty, { reference: aloneToken, ratio: " × one" });
    for (const [name, times] of Object.entries(list)) row(part, name, times);
    const [[plain, times], [kit, kitTimes], [withSignal, signalTimes], [kitSignal, kitSignalTimes]] =
      Object.entries(fetches);
    row(part, `${plain}, to loopback`, times);
    row(part, kit, kitTimes, { reference: times, ratio: " × fetch" });
    row(part, withSignal, signalTimes);
    row(part, kitSignal, kitSignalTimes, { reference: signalTimes, ratio: " × fetch with it" });
  },

  async refresh() {
    const names = ["ours", ...rivals, "fetch", "connection", "disk"];
    const titles = {
      ours: "getValidAccessToken",
      fetch: "the network alone, on a kept connection (fetch)",
      connection: "the network alone, on a new connection (https)",
      disk: "the disk alone: written, fsync, renamed, fsync of the folder",
    };
    const found = Object.fromEntries(names.map((name) => [name, { cold: [], warm: [], memory: [] }]));
    await withEndpoint(0, async (scratch, issuer) => {
      for (let round = 0; round < 11; round += 1) {
        for (const name of names) {
          scratch.store(name, { issuer, life: -1000 });
          const args = [join(here, "refresh.mjs"), name, scratch.path, issuer, "15"];
          const { cold, warm, memory } = await result(process.execPath, args, scratch.env());
          found[name].cold.push(cold);
          found[name].warm.push(...warm);
          found[name].memory.push(memory);
        }
      }
    });
    for (const kind of ["cold", "warm"]) {
      for (const name of names) {
        const title = titles[name] ?? `${name} + lock + atomic write`;
        const relation = name === "ours" ? {} : { reference: found[name][kind], ratio: ` × ${name}` };
        const times = found[name][kind];
        if (name === "ours") row(`refresh over TLS, ${kind}`, title, times);
        else {
          const { ratio } = summary(found.ours[kind], relation.reference);
          row(`refresh over TLS, ${kind}`, title, times, { ratio: `ours is ${ratio.toFixed(2)} × this` });
        }
      }
    }
    for (const name of names.filter((name) => name !== "connection" && name !== "disk")) {
      const { median: middle, min, max } = summary(found[name].memory);
      rows.push(["refresh over TLS, memory", name, bytes(middle), bytes(min), bytes(max), "loading included"]);
    }
  },

  async herd() {
    const names = ["ours", ...rivals];
    await withEndpoint(200, async (scratch, issuer, requests) => {
      for (let round = 0; round < 3; round += 1) {
        for (const name of names) {
          scratch.store(name, { issuer, life: -1000 });
          const herd = await stampede(32, [join(here, "herd.mjs"), name, scratch.path, issuer], scratch.env());
          const first = Math.min(...herd.map((one) => one.first));
          const last = Math.max(...herd.map((one) => one.last));
          const began = Math.min(...herd.map((one) => one.started));
          found[name] ??= { spread: [], whole: [], requests: [] };
          found[name].spread.push((last - first) * 1e6);
          found[name].whole.push((last - began) * 1e6);
          found[name].requests.push(await requests());
        }
      }
    });
    for (const name of names) {
      const { spread, whole, requests } = found[name];
      const part = `herd, 32 processes × 10 calls, 200 ms: ${name}`;
      const ratio = name === "ours" ? "" : `ours is ${(median(found.ours.spread) / median(spread)).toFixed(2)} × this`;
      row(part, `last caller after the first (requests: ${requests.join(", ")})`, spread, { ratio });
      row(part, "from the signal to the last caller", whole);
    }
  },

  async start() {
    const names = ["nothing", "clawdbot-plugin-auth", "openid-client", "@azure/msal-node", "google-auth-library"];
    const found = Object.fromEntries(names.map((name) => [name, { time: [], memory: [], threads: [], processor: [] }]));
    for (let round = 0; round < 15; round += 1) {
      for (const name of names) {
        const args = ["--expose-gc", join(here, "start.cjs"), name];
        const { time, memory, threads, processor } = await result(process.execPath, args);
        for (const [key, value] of Object.entries({ time, memory, threads, processor })) found[name][key].push(value);
      }
    }
    for (const name of names.slice(1)) {
      const { time, memory, threads, processor } = found[name];
      const more = summary(processor.map((value, round) => value - found.nothing.processor[round]));
      const size = name === "clawdbot-plugin-auth" ? ownSize() : installedSize(name);
      const part = `loading ${name}`;
      row(part, "require or import", time);
      rows.push([
        part,
        "processor time of the process, over an empty one",
        duration(more.median),
        duration(more.min),
        duration(more.max),
        "",
      ]);
      const grown = summary(memory.map((bytes, round) => bytes - found.nothing.memory[round]));
      rows.push([
        part,
        "memory",
        bytes(grown.median),
        bytes(grown.min),
        bytes(grown.max),
        `threads: ${Math.max(...threads)}`,
      ]);
      rows.push([part, "installed size", bytes(size), "", "", ""]);
    }
    const platform = platforms.find(({ binary }) => existsSync(join(root, binary)));
    const published = join(platform.folder, platform.binary);
    for (const [what, path] of [
      ["as built in a checkout", join(root, platform.binary)],
      ["as published (scripts/prebuild.mjs)", published],
    ]) {
      const size = existsSync(path) ? `${statSync(path).size.toLocaleString("en")} B` : "not built here";
      rows.push(["binary", `stripped, ${platform.binary}, ${what}`, size, "", "", ""]);
    }
    rows.push(["binary", "made of", crates(), "", "", ""]);
  },

  async growth() {
    const { profiles, sizes } = await result(process.execPath, [join(here, "growth.mjs")]);
    for (const { count, token, status, list } of profiles) {
      const of = (key, value) => (value / profiles[0][key]).toFixed(2);
      const part = `growth, ${count} profile${count > 1 ? "s" : ""}`;
      rows.push([
        part,
        "getValidAccessToken, all in turn",
        duration(token),
        "",
        "",
        `${of("token", token)} × 1 profile`,
      ]);
      rows.push([part, "status", duration(status), "", "", `${of("status", status)} × 1 profile`]);
      rows.push([part, "listProfiles", duration(list), "", "", `${of("list", list)} × 1 profile`]);
    }
    for (const { size, first, fresh } of sizes) {
      rows.push([
        `growth, token of ${size.toLocaleString("en")} characters`,
        "just written: read again",
        duration(first),
        "",
        "",
        "",
      ]);
      rows.push([`growth, token of ${size.toLocaleString("en")} characters`, "fresh", duration(fresh), "", "", ""]);
    }
    const scratch = new Scratch();
    scratch.store();
    let one;
    for (const count of [1, 4, 16, 64]) {
      const all = Array.from({ length: count }, () =>
        result(process.execPath, [join(here, "growth.mjs"), scratch.path], scratch.env()),
      );
      const times = (await Promise.all(all)).map(({ perCall }) => perCall);
      one ??= median(times);
      const ratio = `${(median(times) / one).toFixed(2)} × 1 process`;
      row(`growth, ${count} process${count > 1 ? "es" : ""}`, "getValidAccessToken, processor time", times, { ratio });
    }
    scratch.remove();
  },

  async instructions() {
    if (spawnSync("valgrind", ["--version"]).status !== 0) {
      rows.push(["instructions", "valgrind is not installed", "", "", "", ""]);
      return;
    }
    const kinds = [
      ["fresh", "fresh token", 1000, 0],
      ["signal", "fresh token, { signal }", 1000, 0],
      ["made", "fresh token, a config object made at each call", 1000, 0],
      ["headers", "bearer headers", 1000, 0],
      ["status", "status", 500, 0],
      ["config", "another config at each call: parsed, file looked at", 500, 0],
      ["small", "file of 1 KB read and parsed", 60, 800],
      ["large", "file of 100 KB read and parsed", 60, 100_000],
    ];
    for (const [kind, title, count, size] of kinds) {
      const scratch = new Scratch();
      scratch.store();
      for (let file = 0; size > 0 && file < 2 * count; file += 1) scratch.store(`${kind}-${file}`, { size });
      const [once, twice] = [count, 2 * count].map((calls) => instructions(scratch, kind, calls));
      const each = Math.round((twice - once) / count).toLocaleString("en");
      rows.push(["instructions in the addon", title, each, "", "", "per call, by callgrind"]);
      scratch.remove();
    }
  },
};
const found = {};

/** Runs a program that reports one line of JSON. */
async function result(program, args, env = process.env) {
  const child = spawn(program, args, { env, stdio: ["ignore", "pipe", "inherit"], cwd: root });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text) => {
    output += text;
  });
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`${args.join(" ")} failed (exit code ${code})`);
  return JSON.parse(output);
}

/** All start, wait, and go at once. */
async function stampede(count, args, env) {
  const children = Array.from({ length: count }, () => {
    const child = spawn(process.execPath, args, { env, stdio: ["pipe", "pipe", "inherit"] });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    return { child, next: async () => JSON.parse((await lines.next()).value) };
  });
  await Promise.all(children.map(({ next }) => next()));
  for (const { child } of children) child.stdin.write("go\n");
  return Promise.all(children.map(({ next }) => next()));
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

/** Instructions that the addon's own code took in a run of so many calls. */
function instructions(scratch, kind, calls) {
  const listing = join(scratch.path, "callgrind.out");
  const options = ["--tool=callgrind", `--callgrind-out-file=${listing}`, "--smc-check=all-non-file"];
  const program = [process.execPath, join(here, "instructions.mjs"), kind, String(calls), scratch.path];
  const { status, stderr } = spawnSync("valgrind", [...options, ...program], { encoding: "utf8" });
  if (status !== 0) throw new Error(`callgrind failed:\n${stderr}`);
  let [sum, isOurs, isInclusive] = [0, false, false];
  const ours = new Set();
  for (const line of readFileSync(listing, "utf8").split("\n")) {
    const [, object, number, name] = /^(c?ob)=\((\d+)\)(?: (.*))?$/.exec(line) ?? [];
    if (name?.includes("clawdbot-plugin-auth.")) ours.add(number);
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
  const head = ["Where", "What", "median", "min", "max", "ratio, and further"];
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
  const names = process.argv.slice(2);
  await setUp({ nodes, rivals: true });
  if (!isBuilt({ release: true }) && (await build()) !== 0) return 1;
  const load = os.loadavg();
  for (const name of names.length > 0 ? names : Object.keys(parts)) {
    const started = Date.now();
    await parts[name]();
    console.error(`${name}: ${((Date.now() - started) / 1000).toFixed(0)} s`);
  }
  console.log(table());
  if (names.length === 0) {
    const explanation = readFileSync(join(here, "README.md"), "utf8").split("\n").slice(1).join("\n").trim();
    writeFileSync(join(here, "RESULTS.md"), `# Results\n\n${circumstances(load)}\n\n${explanation}\n\n${table()}\n`);
  }
  return 0;
}

process.exitCode = await main();
