export interface KafkaPorts {
  client: number;
  controller: number;
  /** A second listener for clients, with the advertised port of a proxy in front of it. */
  proxied?: { listener: number; advertised: number } | undefined;
}

/**
 * The server.properties of a one-node broker. `data` is relative to the broker's folder, its
 * working directory: the file can't contain non-ASCII characters, and a comma would separate two
 * folders.
 */
export function kafkaSettings(data: string, ports: KafkaPorts): string {
  const { proxied } = ports;
  const listener = (port?: number) => (port === undefined ? "" : `,PROXIED://127.0.0.1:${port}`);
  return `process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:${ports.controller}
listeners=PLAINTEXT://127.0.0.1:${ports.client},CONTROLLER://127.0.0.1:${ports.controller}${listener(proxied?.listener)}
advertised.listeners=PLAINTEXT://127.0.0.1:${ports.client}${listener(proxied?.advertised)}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT
log.dirs=${data}
# The models create their topics themselves; a misspelt name is an error.
auto.create.topics.enable=false
# A single node can't keep copies.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
# Groups of one or two members: nobody else to wait for.
group.initial.rebalance.delay.ms=0
# Retention goes by the records' own times. A stream that is said to be of last year would be deleted minutes after it was produced.
log.retention.ms=-1
# After a SIGKILL the node has to wait until its former self counts as dead: 9 s by default. With 2 s, it counts as dead on a busy machine while it lives.
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500
# 128 MiB by default, and taken at once.
log.cleaner.dedupe.buffer.size=4194304
`;
}
