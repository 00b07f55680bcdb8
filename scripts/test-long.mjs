// `npm run test:long`: what takes minutes and is no part of `npm test`, one after the other; all are run, whatever fails.
import { run } from "./command.mjs";

/** What is run, as scripts of this folder with their arguments. */
const long = [
  ["test-keychains.mjs"],
  ["test-programs.mjs", "--rounds", "20", "--test-name-pattern=both refresh at once"],
  ["test-programs.mjs", "--newest"],
  ["soak-host.mjs", "--minutes", "5", "--stops", "3"],
  [
    "soak-host.mjs",
    "--host",
    "openclaw-2026.6.11",
    "--minutes",
    "5",
    "--stops",
    "3",
    "--accounts",
    "--dpop",
    "--given-store",
  ],
];

let failed = 0;
for (const [script, ...args] of long) {
  console.log(`\n━━━ ${script} ${args.join(" ")}`);
  failed += (await run(process.execPath, [`scripts/${script}`, ...args])) === 0 ? 0 : 1;
}
process.exitCode = failed === 0 ? 0 : 1;
