/** Bad input of every kind beside honest orders. */
import { testHostileInput } from "@lab/proof/input/hostile-input";

testHostileInput({
  model: "sync-rest",
});
