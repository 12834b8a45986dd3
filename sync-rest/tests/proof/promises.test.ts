/** What the synchronous model promises, and whether it keeps it. */
import { post } from "@lab/lab/load/load";
import { testPromises } from "@lab/proof/kills/promises";
import { getJson } from "../campus.ts";

testPromises({
  model: "sync-rest",
  actions: async ({ campus: { inventory, order, downstream } }) => ({
    async repeat(orderId) {
      const { items, kitchen, user_id } = await getJson(`${order.url}/orders/${orderId}`);
      const answers = [
        await post(`${inventory.url}/reserve`, { order_id: orderId, kitchen, items }),
        await post(`${downstream.url}/send`, { order_id: orderId, user_id, kitchen }),
      ];
      return answers.filter(({ kind }) => kind === "ok").length;
    },
    async sendInvalid() {
      const { status } = await post(`${inventory.url}/reserve`, { order_id: "none", items: [] });
      return String(status) as "422";
    },
    async reuseId({ items, kitchen, order_id, user_id }) {
      const other = { order_id, kitchen, items: items.map((item) => ({ ...item, qty: 2 })) };
      const answers = [
        await post(`${inventory.url}/reserve`, other),
        await post(`${downstream.url}/send`, { order_id, kitchen, user_id: `not ${user_id}` }),
      ];
      const said = answers.map(({ code, status }) => `${status} ${code}`);
      const refused = said.every((one) => one === "422 order_id_reused");
      return (refused ? "422" : said.join()) as "422";
    },
    async [Symbol.asyncDispose]() {},
  }),
});
