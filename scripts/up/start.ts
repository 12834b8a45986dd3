import type { Model } from "@lab/evidence/evidence";
import type { Broker } from "@lab/lab/brokers/broker";
import type { UpService } from "@lab/lab/brokers/state";
import type { ServiceProcess } from "@lab/lab/services/processes";

/** How models are to be started. */
export interface UpOptions {
  /** With empty databases, whatever there is. */
  fresh: boolean;
  /** They end with this process. */
  foreground: boolean;
}

/** What is to be started of a model, and what has been. */
export interface Start {
  name: string;
  model: Model;
  /** On the data that are there; else with empty databases. */
  again: boolean;
  /** What those that are to be started get of the shell's variables, and of the first start's. */
  settings: Record<string, string>;
  /** All its services, as they are written down or will be. */
  services: UpService[];
  /** Those of them that are to be started, and in the end run. */
  missing: string[];
  started: ServiceProcess[];
  /** The folder of the broker, from when it is being started, and the broker. */
  brokerFolder?: string;
  broker?: Broker;
}
