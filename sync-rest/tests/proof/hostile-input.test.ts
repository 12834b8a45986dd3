/** Bad input of every kind beside honest orders. */
import { testHostileInput } from "@lab/proof/hostile-input";

testHostileInput({
  model: "sync-rest",
});
