import kit from "./dist/index.js";

export const { configSchema, deviceCodeAuthMethod, pluginAuth, refreshOAuth, uiHints } = kit;
