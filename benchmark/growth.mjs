// Cost per call as things grow: profiles, the size of a token. With an argument: one of several processes.
import { setTimeout as pause } from "node:timers/promises";
import { interleaved, report } from "./measure.mjs";
import { load, Scratch } from "./scratch.mjs";

const { getValidAccessToken, status } = load("index.js");

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
    for (const count of [1, 1000]) {
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
      profiles.push({ count: [count], token: token.token, status: rest.status });
    }
    const sizes = [];
    for (const size of [800, 100_000]) {
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
      sizes.push({ size: [size], first, fresh });
    }
    report({ profiles, sizes });
  } finally {
    scratch.remove();
  }
}

await (process.argv[2] === undefined ? inOneProcess() : processor());
