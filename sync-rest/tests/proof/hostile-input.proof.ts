/** Bad input of every kind beside honest orders. */
import { testHostileInput } from "@lab/proof/input/hostile-input";
import { INPUT } from "../input.ts";

testHostileInput({
  model: "sync-rest",
  input: INPUT,
});
