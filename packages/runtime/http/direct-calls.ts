/** Variables that Bun reads once, at process start. */
const ENVIRONMENT = {
  // More than a service ever has outstanding (`MAX_IN_FLIGHT`). By default Bun silently queues all
  // beyond 256, and those time out unsent.
  BUN_CONFIG_MAX_HTTP_REQUESTS: "4096",
  // A restarted neighbour may have another address. Bun would call the old one for 30 s.
  BUN_CONFIG_DNS_TIME_TO_LIVE_SECONDS: "1",
  // No neighbour is behind a proxy, whatever the shell or Docker has set.
  NO_PROXY: "*",
  no_proxy: "*",
};

/**
 * Makes `fetch` send every call at once and without a proxy: re-executes the process, under the
 * same process id, unless it already has these variables.
 */
export function callDirectly(): void {
  const { argv, execArgv, execPath } = process;
  const env = process.env;
  if (Object.entries(ENVIRONMENT).every(([name, value]) => env[name] === value)) return;
  const words = [execPath, ...execArgv, ...argv.slice(1)];
  process.execve!(execPath, words, { ...env, ...ENVIRONMENT });
}
