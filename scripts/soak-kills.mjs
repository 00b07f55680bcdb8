// `npm run soak:kills`: 500 kills at random moments of a refresh, or as many as are asked for.
//
//   node scripts/soak-kills.mjs [--kills 2000]
import { run } from "./command.mjs";
import { serverNodeMajor, setUp } from "./setup.mjs";

const at = process.argv.indexOf("--kills");
const kills = at === -1 ? "500" : (process.argv[at + 1] ?? "");

await setUp({ nodes: [serverNodeMajor] });
process.exitCode = await run(
  process.execPath,
  ["--import", "tsx", "--test", "--test-reporter=spec", "--test-name-pattern=random moments", "__test__/kills.test.ts"],
  { env: { PLUGIN_AUTH_KILLS: kills } },
);
