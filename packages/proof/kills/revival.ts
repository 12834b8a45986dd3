import { join } from "node:path";
import { attachBroker } from "@lab/lab/brokers/brokers";
import type { Model } from "@lab/evidence/evidence";
import { experiment } from "@lab/lab/experiment/experiment";
import { QUEUE_SETTLES_S } from "@lab/lab/brokers/rabbitmq";
import { factsOf } from "@lab/lab/brokers/model-facts";
import { eventually, outage } from "@lab/lab/host/waiting";
import { ownLab } from "./own-lab.ts";

const ORDERS = 20;
/** What `up --foreground` says when all is healthy. */
const UP = "logs follow";

interface RevivalPlan {
  model: Model;
  /** As `scripts/lab up` calls it. */
  name: string;
  /** A command that looks at its broker, and what of its output is there only if it finds the model's queues or groups. */
  tool: { words: string[]; finds: string };
}

/** What a person has started with `scripts/lab up` ends by itself, broker included, and is brought back. */
export function testRevival({ model, name, tool }: RevivalPlan): void {
  const facts = factsOf(model);
  const broker = facts.broker!.name;
  const end = facts.success;
  experiment(
    {
      name: "revival",
      model,
      question:
        "All that runs is killed, the broker too: does `up` bring it back, with every order?",
      method: `scripts/lab up in a copy of the clone. SIGKILL of the broker, ${ORDERS} orders, and scripts/lab up without a word; ${ORDERS} orders, SIGKILL of services and broker, and the same. Then SIGKILL of an up --foreground, and scripts/lab up on what it leaves.`,
      disproof: `An up that fails or doesn't say what it brought back, an order that was acknowledged and isn't ${end} in the end, an order that nobody placed.`,
      requirements: [],
      parameters: { orders: ORDERS },
    },
    async (run) => {
      await using lab = await ownLab();
      const placed: string[] = [];
      let url = "";
      const place = async () => {
        for (let n = 0; n < ORDERS; n += 1) placed.push(await placeOrder(url));
      };
      const allEnd = async (after: string) => {
        const orders = await eventually(`all orders are ${end} ${after}`, async () => {
          const found = await ordersAt(url);
          return (
            found.every(({ status }) => status === end) && found.length >= placed.length && found
          );
        });
        const ids = orders.map(({ order_id }) => order_id).toSorted();
        run.holds(`${after} every order has ended, and no other is there`, ids, placed.toSorted());
      };
      const killServices = async () => {
        for (const { pid } of (await lab.status()).services) process.kill(pid, "SIGKILL");
      };
      const killBroker = async () =>
        (await attachBroker(join(lab.folder, ".lab", "up", broker)))!.kill();
      const bringBack = async (what: string, says: string[]) => {
        const { code, errors } = await lab.run(["up"]);
        run.progress(`${what} killed: ${errors.trim() || "nothing said"}`);
        const unsaid = says.filter((text) => !errors.includes(text));
        const failed = code === 0 ? "" : errors;
        run.holds(
          `up brings back ${what}, and says so`,
          { code, failed, unsaid },
          { code: 0, failed: "", unsaid: [] },
        );
        await allEnd(`after ${what} came back`);
      };
      const brokerBack = `${name}: ${broker} started again on its data`;
      const servicesBack = `${name}: started again on its database: `;

      // Only the first shell has it: whatever is brought back must find the same queues and topics.
      const { code, errors } = await lab.run(["up", name], { LAB_NAMESPACE: "first-" });
      const said = "from this shell: LAB_NAMESPACE=first-\n";
      run.holds("up starts it", { code, errors }, { code: 0, errors: said });
      // Its port stays.
      url = (await lab.status()).services[0]!.url;
      await place();
      await allEnd("before any kill");
      const { errors: complaint, output: found } = await lab.run(tool.words);
      run.holds(
        `scripts/lab ${tool.words.join(" ")} finds what it has started`,
        { complaint, finds: found.includes(tool.finds) },
        { complaint: "", finds: true },
      );
      await outage(QUEUE_SETTLES_S);
      await killBroker();
      await place();
      await bringBack("the broker", [brokerBack]);
      await place();
      await Promise.all([killServices(), killBroker()]);
      await bringBack("both", [brokerBack, servicesBack]);

      // Its `down` would begin anew: stopped by hand, the data stay.
      await Promise.all([killServices(), killBroker()]);
      const watching = lab.spawn(["scripts/lab.ts", "up", name, "--foreground"]);
      let output = "";
      for await (const bytes of watching.stdout) {
        const before = output;
        output += Buffer.from(bytes).toString();
        if (before.includes(UP) || !output.includes(UP)) continue;
        await place();
        watching.kill("SIGKILL");
      }
      await watching.exited;
      await bringBack("an up --foreground", [servicesBack]);
    },
  );
}

async function placeOrder(url: string): Promise<string> {
  const answer = await fetch(`${url}/order`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ user_id: "u1", items: [{ sku: "burger", qty: 1 }] }),
  });
  if (answer.status !== 202)
    throw new Error(`POST /order: ${answer.status} ${await answer.text()}`);
  return ((await answer.json()) as { order_id: string }).order_id;
}

async function ordersAt(url: string): Promise<{ order_id: string; status: string }[]> {
  const answer = await fetch(`${url}/orders?limit=1000`);
  return ((await answer.json()) as { orders: { order_id: string; status: string }[] }).orders;
}
