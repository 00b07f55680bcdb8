/** The part that the kit uses. */
export function endListening(): void;
