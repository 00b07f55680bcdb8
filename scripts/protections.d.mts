export interface Protection {
  protection: string;
  find: string;
  replace: string;
  tests: Record<string, string[]>;
}

export function patternOf(entry: Pick<Protection, "find">): RegExp;
export const protections: Protection[];
