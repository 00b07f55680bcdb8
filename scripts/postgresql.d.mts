/** The paths of its programs and libraries; undefined where there are none. */
export declare function postgresql(): { programs: string; libraries: string } | undefined;
export declare function installPostgresql(): Promise<void>;
