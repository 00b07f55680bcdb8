/** The origins of `allowHttp`. Throws `INVALID_CONFIG`. */
export function unencrypted(config: { allowHttp?: string[] }): string[];
