// The cost of loading in a process that does nothing else: time, memory, threads.
//
//   node start.cjs <what> <folder with a login>
"use strict";

const { readdirSync } = require("node:fs");
const { join, resolve } = require("node:path");

const build = resolve(process.env.BENCHMARKED ?? join(__dirname, ".."));

const loaders = {
  nothing: () => {},
  "clawdbot-plugin-auth": () => require(join(build, "index.js")),
  "first token": () =>
    require(join(build, "index.js")).getValidAccessToken({
      pluginId: "bench",
      issuer: "https://auth.example.com",
      tokenEndpoint: "https://auth.example.com/token",
      clientId: "client",
      stateDir: process.argv[3],
    }),
  "openid-client": () => import("openid-client"),
  "@azure/msal-node": () => {
    require("@azure/msal-node");
    try {
      require("@azure/msal-node-extensions");
    } catch (error) {
      // Its keytar is built by an install script, which npm ci --ignore-scripts leaves out: it costs a little more
      // then.
      if (error.code !== "MODULE_NOT_FOUND") throw error;
    }
  },
  "google-auth-library": () => require("google-auth-library"),
};
const threads = () => (process.platform === "linux" ? readdirSync("/proc/self/task").length : 0);
const measured = async () => {
  globalThis.gc?.();
  const [memory, before, started] = [process.memoryUsage().rss, threads(), process.hrtime.bigint()];
  const loading = loaders[process.argv[2]]();
  if (loading instanceof Promise) await loading;
  const time = Number(process.hrtime.bigint() - started);
  const { user, system } = process.cpuUsage();
  const result = {
    time,
    memory: process.memoryUsage().rss - memory,
    threads: threads() - before,
    processor: (user + system) * 1000,
  };
  process.stdout.write(`${JSON.stringify(result)}\n`);
};
measured();
