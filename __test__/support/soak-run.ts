// The program behind `npm run soak`: soaks for the given minutes, prints the summary, and fails where a loss has no
// reason.
import { Scope } from "./lifetime.ts";
import { type Change, Soak } from "./soak.ts";

const [minutes = "10", seed] = process.argv.slice(2);
const scope = new Scope();
try {
  console.log(`Soaking for ${minutes} minutes …`);
  const summary = await Soak.run(scope, {
    milliseconds: Number(minutes) * 60_000,
    ...(seed !== undefined && { seed: Number(seed) }),
  });
  const { losses, explainedLosses, survivor } = summary;
  const mebibytes = ({ before, after }: Change) =>
    [before, after].map((bytes) => (bytes / 2 ** 20).toFixed(1)).join(" → ");
  const failures = Object.entries(summary.failures).map(([code, count]) => `${code} ${count}`);
  for (const [what, figure] of [
    ["seed", summary.seed],
    ["tokens handed out", summary.tokens],
    ["calls that failed", failures.join(", ") || "none"],
    ["requests at the server", summary.requests],
    ["refreshes", summary.refreshes],
    ["processes killed", summary.kills],
    ["outages", summary.outages],
    ["logins lost", losses],
    ["… killed between the server's rotation and the disk", explainedLosses],
    ["… for no such reason", losses - explainedLosses],
    ["the process that lived throughout: refreshes", survivor.refreshes],
    ["… memory, MiB", mebibytes(survivor.memory)],
    ["… descriptors", `${survivor.descriptors.before} → ${survivor.descriptors.after}`],
  ]) {
    console.log(`${String(what).padEnd(54)} ${figure}`);
  }
  process.exitCode = losses === explainedLosses ? 0 : 1;
} finally {
  await scope.end();
}
