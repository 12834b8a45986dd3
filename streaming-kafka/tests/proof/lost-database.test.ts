/** Somebody takes the databases away while the services run. */
import { testLostDatabase } from "@lab/proof/lost-database";

testLostDatabase("streaming-kafka");
