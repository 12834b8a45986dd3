import type { Model } from "@lab/evidence/evidence";

/** What only the lab's commands know, handed to the page's server. */
export interface Lab {
  port: number;
  models: Model[];
  /** Changes of what is up happen one after the other, `scripts/lab up` and `down` included. */
  withUpLock<T>(job: () => Promise<T>): Promise<T>;
  /** The variables with which a model's services are started again. */
  settingsOf(model: Model): Promise<Record<string, string>>;
  /** Prefix of a model's queues, topics and groups. */
  namespaceOf(model: Model): Promise<string>;
  /** The protections that can be taken from a model's services, by LAB_WITHOUT. */
  protectionsOf(model: Model): Promise<string[]>;
  /** A model's name on the command line. */
  nameOf(model: Model): string;
}
