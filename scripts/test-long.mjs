// `npm run test:long`: the tests that take long or engines and a build of their own, and so are not part of `npm test`,
// one after the other; all run, even after a failure.
//
//   npm run test:long                all
//   npm run test:long -- --ci        the part for .ci/run, some minutes
import { run } from "./command.mjs";
import { hosts } from "./hosts.mjs";

const asLong = { PLUGIN_AUTH_KILLS: "40", PLUGIN_AUTH_WRITES: "10000" };

/** The oldest whose gateway waits until a refresh is saved. */
const { id: oldest } = hosts.find(({ awaitsStop }) => awaitsStop);

/** The runs, as scripts of this folder with their arguments. */
const forCi = [
  // Together, since they mostly wait.
  ["check.mjs", "outage", "soak", "random-kills", "fast-path"],
  // Logins of several machines, and in the keychains that are quick to install.
  ["check.mjs", "stores", "keychain.test", "keychain-kills", "keychain-programs", "keychain-real.test"],
];
const long = [
  ...forCi,
  ["test-keychains.mjs"],
  ["soak-stores.mjs", "--minutes", "10", "--stop", "30"],
  // With Valkey too, which the soak installs.
  ["check.mjs", "stores", "--test-name-pattern=valkey"],
  ["test-prosody.mjs"],
  ["test-programs.mjs", "--rounds", "20", "--test-name-pattern=both refresh at once"],
  ["test-programs.mjs", "--newest"],
  ["test-servers.mjs", "--pds", "PDS"],
  ["soak-host.mjs", "--minutes", "5", "--stops", "3"],
  ["soak-host.mjs", "--host", oldest, "--minutes", "5", "--stops", "3", "--accounts", "--dpop", "--given-store"],
];

let failed = 0;
for (const [script, ...args] of process.argv.includes("--ci") ? forCi : long) {
  console.log(`\n━━━ ${script} ${args.join(" ")}`);
  failed += (await run(process.execPath, [`scripts/${script}`, ...args], { env: asLong })) === 0 ? 0 : 1;
}
process.exitCode = failed === 0 ? 0 : 1;
