import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect } from 'amqplib';
import type { Broker } from './brokers.ts';
import { rabbitmqServer } from './doctor.ts';
import { type NativeOptions, type NativePlan, freshFolder, runNative } from './native.ts';
import { freePorts } from './ports.ts';
import { type UpBroker, readState, recordPid } from './state.ts';

export interface RabbitmqPorts {
  amqp: number;
  management: number;
}

/** A private RabbitMQ with its management page, which lives no longer than this process. Throws when there is none to run. */
export async function startRabbitmq(): Promise<Broker> {
  const [amqp, management] = (await freePorts(2)) as [number, number];
  return runNative(await planRabbitmq(await freshFolder('rabbitmq'), { amqp, management }));
}

/** A RabbitMQ that goes on after this process has ended, with its data in that folder. */
export async function startLastingRabbitmq(folder: string, ports: RabbitmqPorts, onStart: NonNullable<NativeOptions['onStart']>): Promise<Broker> {
  return runNative(await planRabbitmq(folder, ports), { outlives: true, onStart });
}

/** The RabbitMQ that `lab up` left running, if it did. */
export async function upRabbitmq(): Promise<Broker | undefined> {
  const up = (await readState()).brokers.rabbitmq;
  if (up === undefined) return undefined;
  return runNative(await replanRabbitmq(up), { outlives: true, pid: up.pid, onStart: (pid) => recordPid('rabbitmq', pid) });
}
