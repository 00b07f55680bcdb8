// Logins at a real Prosody 13, which takes half a minute to fetch. Needs root, for `chroot`.
//
//   node scripts/test-prosody.mjs [options of `node --test`]
import { join } from "node:path";
import { buildPlugin } from "./build-plugin.mjs";
import { run } from "./command.mjs";
import { installProsody } from "./prosody.mjs";
import { root, setUp } from "./setup.mjs";

await setUp({});
await installProsody();
const built = await buildPlugin();
process.exitCode =
  built === 0
    ? await run(process.execPath, [
        ...["--import", "tsx", "--test", "--test-reporter=spec", "--test-timeout=120000"],
        ...process.argv.slice(2),
        join(root, "__test__/prosody/prosody.test.ts"),
      ])
    : built;
