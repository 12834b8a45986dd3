/** What Bun reads once, as a process starts. */
const ENVIRONMENT = {
  // More than a service ever waits for: it works on 1000 requests at once. By itself Bun queues in
  // silence what goes beyond 256 of them, which time out unsent.
  BUN_CONFIG_MAX_HTTP_REQUESTS: "4096",
  // A neighbour that starts anew may have another address. Bun would call the old one for 30 s.
  BUN_CONFIG_DNS_TIME_TO_LIVE_SECONDS: "1",
  // No neighbour is behind a proxy, whatever the shell or Docker has set.
  NO_PROXY: "*",
  no_proxy: "*",
};

/** Has `fetch` send every call at once, and to the neighbour itself: starts the process over, under its own id, unless it was started so. */
export function callDirectly(): void {
  const { argv, execArgv, execPath } = process;
  const env = process.env;
  if (Object.entries(ENVIRONMENT).every(([name, value]) => env[name] === value)) return;
  const words = [execPath, ...execArgv, ...argv.slice(1)];
  process.execve!(execPath, words, { ...env, ...ENVIRONMENT });
}
