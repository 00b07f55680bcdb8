/** What the kit uses of it. */
export function loadFrom(pluginFolder: string | undefined): void;
