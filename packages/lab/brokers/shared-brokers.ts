import { type Broker, type BrokerName } from "./broker.ts";
import { startBroker } from "./brokers.ts";

// A broker takes seconds to start: the experiments of one process share it.
const shared = new Map<BrokerName, Promise<Broker>>();

/** The process's broker of that name, started at the first call, which `onStart` hears of. Throws as `startBroker` does. */
export function sharedBroker(name: BrokerName, onStart = () => {}): Promise<Broker> {
  const known = shared.get(name);
  if (known !== undefined) return known;
  onStart();
  const starting = startBroker(name);
  shared.set(name, starting);
  starting.catch(() => shared.delete(name));
  return starting;
}

/** Stops it, if it was started: after a failure its state is unknown. */
export async function dropBroker(name: BrokerName): Promise<void> {
  const broker = await shared.get(name)?.catch(() => undefined);
  shared.delete(name);
  await broker?.stop();
}

/** Stops all of them. */
export async function stopBrokers(): Promise<void> {
  await Promise.all([...shared.keys()].map(dropBroker));
}
