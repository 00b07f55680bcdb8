export function engine(
  name: "redis-server" | "valkey-server" | "etcd" | "pgbouncer",
): { command: string[]; libraries: string } | undefined;
export function installEngines(): Promise<void>;
export function installValkey(): Promise<void>;
