/**
 * What Bun reads at the start of each process that the lab starts; services' images set it as well.
 * By default Bun collects garbage each second of a process's first half minute and after requests,
 * which is a third of what a service costs that lives for seconds. The collections that allocation
 * causes remain: under load, memory and speed are the same.
 */
export const BUN_ENV = { BUN_GC_TIMER_DISABLE: "1" };
