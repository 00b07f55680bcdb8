// The program behind `npm run soak:stores`: soaks each engine, prints a table, and fails where a login was lost.
import { execFileSync } from "node:child_process";
import { type EngineName, engines } from "./engines.ts";
import { Scope } from "./lifetime.ts";
import { StoreSoak, type StoreSoakSummary } from "./store-soak.ts";

const { minutes, only, stop } = JSON.parse(process.argv[2] ?? "{}") as { minutes: number; only?: string; stop: number };
execFileSync("ip", ["link", "set", "lo", "up"]);
const names = (Object.keys(engines) as EngineName[]).filter((name) => only === undefined || name === only);
const found: [string, StoreSoakSummary][] = [];
for (const engine of names) {
  const { unavailable } = engines[engine];
  if (unavailable !== false) {
    console.log(`${engine} is left out: ${unavailable}`);
    continue;
  }
  const scope = new Scope();
  try {
    console.log(`Soaking ${engine} for ${(minutes / names.length).toFixed(1)} minutes …`);
    const milliseconds = (minutes / names.length) * 60_000;
    found.push([engine, await StoreSoak.run(scope, { engine, milliseconds, stopMs: stop * 1_000 })]);
  } finally {
    await scope.end();
  }
}
const list = (counts: Record<string, number>) =>
  Object.entries(counts)
    .map(([what, count]) => `${what} ${count}`)
    .join(", ") || "none";
for (const [what, figure] of [
  ["tokens handed out", ({ tokens }) => tokens],
  ["calls that failed", ({ failures }) => list(failures)],
  ["faults", ({ faults }) => list(faults)],
  ["refreshes", ({ refreshes }) => refreshes],
  ["at most under way at once", ({ atOnce }) => atOnce],
  ["begun while another was", ({ overlaps }) => overlaps],
  ["refresh tokens sent again", ({ repeats }) => repeats],
  ["tokens that were not the server's", ({ wrong }) => wrong],
  ["logins lost", ({ losses }) => losses],
  ["whole in the end", ({ isWhole }) => isWhole],
] as [string, (summary: StoreSoakSummary) => unknown][]) {
  for (const [engine, summary] of found) console.log(`${what.padEnd(36)} ${engine.padEnd(9)} ${figure(summary)}`);
}
const isBad = ({ losses, wrong, isWhole }: StoreSoakSummary) => losses > 0 || wrong > 0 || !isWhole;
process.exitCode = found.some(([, summary]) => isBad(summary)) ? 1 : 0;
