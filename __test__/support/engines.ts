/** The engines of the stores, by name. */
import { Etcd, Redis, Valkey } from "./engine.ts";
import { PostgreSql } from "./postgresql.ts";

export const engines = { postgres: PostgreSql, redis: Redis, valkey: Valkey, etcd: Etcd };
export type EngineName = keyof typeof engines;
