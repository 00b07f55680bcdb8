export const prosody: string;
export function installProsody(): Promise<void>;
