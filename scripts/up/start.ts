import type { Model } from "@lab/evidence/evidence";
import type { Broker } from "@lab/lab/brokers/broker";
import type { UpService } from "@lab/lab/brokers/state";
import type { ServiceProcess } from "@lab/lab/services/processes";

/** How models are to be started. */
export interface UpOptions {
  /** With empty databases, even if there are data. */
  fresh: boolean;
  /** They end with this process. */
  foreground: boolean;
}

/** What is to be started of a model, and what was started. */
export interface Start {
  name: string;
  model: Model;
  /** On the existing data; else with empty databases. */
  again: boolean;
  /** The variables of the shell and of the first start that the started services get. */
  settings: Record<string, string>;
  /** All its services, as they are or will be stored. */
  services: UpService[];
  /** The services that are to be started. */
  missing: string[];
  started: ServiceProcess[];
  /** The broker's folder, set when its start begins, and the broker. */
  brokerFolder?: string;
  broker?: Broker;
}
