/** The part that the kit uses. */
export function loadFrom(pluginFolder: string | undefined): void;
export function imageFor(name: string, config: object): { failure?: { message: string } };
