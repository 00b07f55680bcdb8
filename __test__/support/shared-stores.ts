/** The stores of the package, by the name of their engine. */
import { etcdStore } from "../../dist/stores/etcd.js";
import { postgresStore } from "../../dist/stores/postgres.js";
import { redisStore } from "../../dist/stores/redis.js";
import type { StoreTold } from "./engine.ts";

export function storeOf({ engine, options }: StoreTold, more: object = {}) {
  const made = { postgres: postgresStore, redis: redisStore, etcd: etcdStore }[engine];
  return made({ ...options, ...more });
}
