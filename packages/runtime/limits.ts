/** The limits of a service that those who test it have to know. Imports nothing. */

/** How long a stop may take before the process gives up on it. */
export const STOP_GRACE_MS = 10_000;

/**
 * Requests that may be in progress at once. Each holds its body and waits for a commit: without a
 * limit memory would grow with the load. A limit above the size of a group commit gains nothing.
 */
export const MAX_IN_FLIGHT = 1_000;
