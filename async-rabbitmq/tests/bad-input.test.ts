/** Bad input of every kind, sent to every route; see `testBadInput` for the method. */
import { testBadInput } from "@lab/lab/experiment/bad-input";
import { INPUT } from "./input.ts";

testBadInput("async-rabbitmq", INPUT);
