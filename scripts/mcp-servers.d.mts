export const mcpPython: string;
export function installMcpServers(): Promise<void>;
