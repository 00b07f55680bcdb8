/** Where its programs and libraries are; undefined where there is none. */
export declare function postgresql(): { programs: string; libraries: string } | undefined;
export declare function installPostgresql(): Promise<void>;
