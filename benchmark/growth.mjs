// Cost per call as things grow: profiles, the size of a token. With an argument: one of several processes.
import { createRequire } from "node:module";
import { setTimeout as pause } from "node:timers/promises";
import { interleaved, median, report } from "./measure.mjs";
import { Scratch } from "./scratch.mjs";

const { getValidAccessToken, listProfiles, status } = createRequire(import.meta.url)("../index.js");

async function processor() {
  const config = Object.assign(Object.create(Scratch.prototype), { path: process.argv[2] }).config();
  await getValidAccessToken(config);
  await pause(50);
  for (let call = 0; call < 20_000; call += 1) await getValidAccessToken(config);
  const before = process.cpuUsage();
  for (let call = 0; call < 50_000; call += 1) await getValidAccessToken(config);
  const { user, system } = process.cpuUsage(before);
  report({ perCall: ((user + system) * 1000) / 50_000 });
}

async function inOneProcess() {
  const scratch = new Scratch();
  try {
    const profiles = [];
    let stored = 0;
    for (const count of [1, 10, 100, 1000]) {
      for (; stored < count; stored += 1) scratch.store(`profile-${stored}`);
      await pause(60);
      const configs = Array.from({ length: count }, (_, number) => scratch.config(`profile-${number}`));
      const each = (call) => async (times) => {
        for (let number = 0; number < times; number += 1) await call(configs[number % count]);
      };
      const token = await interleaved(
        { token: each(getValidAccessToken) },
        { rounds: 9, count: Math.max(count, 1000) },
      );
      const rest = await interleaved({ status: each(status) }, { rounds: 5, count: 50, warmUp: 1 });
      const list = await interleaved({ list: () => listProfiles(configs[0]) }, { rounds: 5, count: 1, warmUp: 1 });
      profiles.push({ count, token: median(token.token), status: median(rest.status), list: median(list.list) });
    }
    const sizes = [];
    for (const size of [800, 10_000, 100_000]) {
      const first = [];
      for (let round = 0; round < 21; round += 1) {
        scratch.store("sized", { size: size + round });
        const started = process.hrtime.bigint();
        await getValidAccessToken(scratch.config("sized"));
        first.push(Number(process.hrtime.bigint() - started));
      }
      await pause(60);
      const config = scratch.config("sized");
      const again = async (times) => {
        for (let call = 0; call < times; call += 1) await getValidAccessToken(config);
      };
      const { fresh } = await interleaved({ fresh: again }, { rounds: 9, count: 1000 });
      sizes.push({ size, first: median(first), fresh: median(fresh) });
    }
    report({ profiles, sizes });
  } finally {
    scratch.remove();
  }
}

await (process.argv[2] === undefined ? inOneProcess() : processor());
