/** One of `napi.targets`. */
export interface Platform {
  /** Rust's name. */
  target: string;
  /** npm's name: the folder in npm/, and the end of the package's name. */
  name: string;
  os: "linux" | "darwin" | "win32" | "android";
  cpu: "x64" | "arm64";
  libc?: "glibc" | "musl";
  package: string;
  /** The name of the binary's file. */
  binary: string;
  folder: string;
  /** Features of the crate, besides the default ones. */
  features: string[];
}

export declare const platforms: Platform[];
/** The package that users add for `storage: "keychain"`. */
export declare const keychainPackage: string;
/** The same platform's build with the system's keychain. */
export declare function keychainBuildOf(platform: Platform): Platform;
/** All that is published. */
export declare const builds: Platform[];
/** @param wanted Either name, Rust's or npm's. */
export declare function platformOf(wanted: string): Platform;
/** The platform of the Node that runs us, if there is a binary for it. */
export declare function runningPlatform(): Platform | undefined;
