export function engine(name: "redis-server" | "etcd" | "pgbouncer"): { program: string; libraries: string } | undefined;
export function installEngines(): Promise<void>;
