/** Paths of the programs, whether they are there or not. */
export declare const proxyPrograms: Record<"tinyproxy" | "squid" | "mitmdump", string>;
/** Debian's packages as they are unpacked, and the folder of their libraries. */
export declare const debianProxies: { folder: string; libraries: string };
export declare function installProxies(): Promise<void>;
