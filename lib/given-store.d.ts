/** What the kit uses of it. */
export function endListening(): void;
