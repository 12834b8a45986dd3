/** SIGTERM under load: each service in turn, and a second signal. */
import { count } from "@lab/lab/probes/databases";
import { testStop } from "@lab/proof/kills/stop";

testStop({
  model: "sync-rest",
  slowClient: true,
  repetition:
    "A stopped order service may leave no order without an end. A request that meets the end of a kept-open connection is an unknown outcome, as in any HTTP/1.1; that Order asks again then is no disproof, and Inventory and Notification answer it from what they have stored.",
  repeats: "a customer told twice",
  watch: async (trial) => ({
    async afterStop(service) {
      if (service !== trial.campus.order) return undefined;
      const open = count(service, "SELECT count(*) FROM orders WHERE status = 'placed'");
      return open === 0 ? [] : [`${open} orders without an end`];
    },
    async repeated() {
      const twice = "SELECT count(*) - count(DISTINCT order_id) FROM notifications";
      return { told_twice: count(trial.campus.downstream, twice) };
    },
    async [Symbol.asyncDispose]() {},
  }),
});
