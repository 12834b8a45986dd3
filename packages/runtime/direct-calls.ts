/** More than a service ever waits for: it works on 1000 requests at once. */
const MAX_HTTP_REQUESTS = "4096";

/**
 * Has `fetch` send every call at once, and to its neighbour. By itself Bun queues in silence what
 * goes beyond 256 of them, which time out unsent, and hands all to a proxy that the environment
 * names. It reads its limit as a process starts, so this starts the process over, under its own id.
 */
export function callDirectly(): void {
  Object.assign(process.env, { NO_PROXY: "*", no_proxy: "*" });
  if (process.env["BUN_CONFIG_MAX_HTTP_REQUESTS"] === MAX_HTTP_REQUESTS) return;
  process.env["BUN_CONFIG_MAX_HTTP_REQUESTS"] = MAX_HTTP_REQUESTS;
  const { argv, env, execArgv, execPath } = process;
  process.execve!(execPath, [execPath, ...execArgv, ...argv.slice(1)], env);
}
