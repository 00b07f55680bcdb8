/** What the kit uses of it. */
export function loadFrom(pluginFolder: string | undefined): void;
export function imageFor(name: string, config: object): { failure?: { message: string } };
