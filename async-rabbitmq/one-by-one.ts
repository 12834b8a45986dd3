/** Of a message that kills its process only one thing is seen: it comes again. So what comes again is worked on alone. */
import { type Log, reasonOf } from "@lab/runtime/log";
import { patiently } from "@lab/runtime/patience";
import { type Attempts, MOST_DEATHS } from "@lab/store/attempts";
import type { Channel, ConsumeMessage } from "amqplib";
import { requeueLater } from "./client.ts";
import { isBug, type Publisher } from "./publisher.ts";

/**
 * The same work, but a delivery that comes again is counted while it is worked on, and buried where
 * too many processes have died meanwhile. `consumeBatches` hands it over alone.
 */
export function oneByOne(
  { attempts, log, queue }: { attempts: Attempts; log: Log; queue: string },
  channel: Channel,
  publisher: Publisher,
  work: (batch: ConsumeMessage[]) => Promise<void>,
): (batch: ConsumeMessage[]) => Promise<void> {
  return async (batch) => {
    const [message] = batch;
    if (!message?.fields.redelivered) return work(batch);
    // By what it says: what kills is its content, and an id may be missing or another's.
    const key = new Bun.CryptoHasher("sha256").update(message.content).digest("hex");
    try {
      if ((await patiently(log, async () => attempts.begin(key))) === "try") await work(batch);
      else {
        const reason = "killed_its_consumer";
        const detail = `${MOST_DEATHS} processes died with it alone in their hands`;
        log.warn("message_refused", { message_id: message.properties.messageId, reason, detail });
        await publisher.bury(queue, message, { reason, detail });
        channel.ack(message);
      }
    } catch (error) {
      // The process ends, and the attempt never does.
      if (isBug(error)) throw error;
      return requeueLater(channel, { message }, error, log);
    }
    // Of a dead one too: put back by hand it is tried again.
    await patiently(log, async () => attempts.end(key)).catch((error: unknown) => {
      if (isBug(error)) throw error;
      log.warn("store_unavailable", { reason: reasonOf(error) });
    });
  };
}
