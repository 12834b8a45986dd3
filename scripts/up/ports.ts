// The ports of what a person starts.
import { portVariable } from "@lab/lab/services/compose-services";
import { factsOf } from "@lab/lab/brokers/model-facts";
import { becomesFree } from "@lab/lab/host/ports";
import { settings } from "@lab/evidence/settings";
import { readState, type UpService } from "@lab/lab/brokers/state";
import { hostInUrl } from "@lab/runtime/env";
import type { Start } from "./start.ts";
import { fixedPorts, MODELS } from "../models.ts";

/** A service's URL: with the port of the environment; else, at a restart, the previous one; else its fixed one. */
export function urlOf(
  { again, name, settings: { LISTEN_HOST: host = "127.0.0.1" } }: Start,
  { name: service, url }: UpService,
): string {
  const port = chosenPort(service);
  if (port === undefined && again && url !== "") return url;
  return `http://${hostInUrl(host.trim())}:${port ?? fixedPorts(MODELS[name]!)[service]}`;
}

export const portIn = (url: string) => Number(new URL(url).port);

/** Throws when two services would have the same port, or a port is in use. */
export async function refusePorts(starts: readonly Start[]): Promise<void> {
  const wanted = starts.flatMap(({ missing, name, services }) =>
    services
      .filter((one) => missing.includes(one.name))
      .map((one) => ({ port: portIn(one.url), service: one.name, who: `${one.name} of ${name}` })),
  );
  const others = (await readState()).services.filter(
    (one) =>
      !starts.some(({ missing, model }) => one.model === model && missing.includes(one.name)),
  );
  const problems: string[] = [];
  for (const [index, { port, service, who }] of wanted.entries()) {
    const twin = wanted.slice(0, index).find((one) => one.port === port);
    const other = others.find(({ url }) => portIn(url) === port);
    const usedBy =
      twin !== undefined
        ? `is to be that of ${twin.who}`
        : other !== undefined
          ? `is that of ${other.name} of ${other.model}`
          : (await becomesFree(port))
            ? undefined
            : "is in use";
    if (usedBy === undefined) continue;
    problems.push(
      `port ${port} ${usedBy}, and ${who} is to have it: stop what runs there, or set ${portVariable(service)}`,
    );
  }
  for (const { missing, model, services } of starts) {
    // The running caller got their addresses when it was started.
    const caller = services[0]!;
    if (missing.includes(caller.name)) continue;
    const known = (await readState()).services;
    const called = Object.values(factsOf(model).calls);
    for (const { name, url } of services.filter((one) => called.includes(one.name))) {
      const before = known.find((one) => one.model === model && one.name === name);
      if (before === undefined || before.url === url) continue;
      problems.push(
        `${caller.name} runs, and calls ${name} at ${before.url}: ${portVariable(name)} can't change that before scripts/lab down`,
      );
    }
  }
  if (problems.length > 0) throw new Error(problems.join("\n"));
}

function chosenPort(service: string): number | undefined {
  const { analyticsPort, inventoryPort, notificationPort, orderPort } = settings();
  const chosen: Record<string, number | undefined> = {
    ORDER_PORT: orderPort,
    INVENTORY_PORT: inventoryPort,
    NOTIFICATION_PORT: notificationPort,
    ANALYTICS_PORT: analyticsPort,
  };
  return chosen[portVariable(service)];
}
