/** More orders than the model can take: it refuses in time, and stores what it accepts. */
import { testOverload } from "@lab/proof/input/overload";

testOverload("sync-rest");
