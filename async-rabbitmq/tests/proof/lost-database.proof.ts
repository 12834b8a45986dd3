/** Somebody takes the databases away while the services run. */
import { testLostDatabase } from "@lab/proof/faults/lost-database";

testLostDatabase("async-rabbitmq");
