import { say } from "../say.ts";

/** The progress of several runs: on a terminal one line each, updated in place, elsewhere line after line. */
export class LiveLines {
  readonly #inPlace = process.stderr.isTTY;
  readonly #newest = new Map<string, string>();

  /** The environment of the runs: how often they should report. */
  get env(): Record<string, string> {
    return this.#inPlace ? { LAB_LIVE_S: "1" } : {};
  }

  /** Prints a line with the run's name; one with "live:" replaces the run's last line. */
  say(run: string, text: string): void {
    const line = text.includes(run) ? text : `${run}: ${text.trimStart()}`;
    if (!this.#inPlace) return say(line);
    this.#erase();
    if (line.includes(": live: ")) this.#newest.set(run, line);
    else say(line);
    this.#write();
  }

  /** Call when the run has ended. */
  end(run: string): void {
    if (this.#inPlace) this.#erase();
    this.#newest.delete(run);
    this.#write();
  }

  #write(): void {
    for (const one of this.#newest.values()) {
      say(one.slice(0, process.stderr.columns - 1));
    }
  }

  #erase(): void {
    if (this.#newest.size > 0) process.stderr.write(`\x1b[${this.#newest.size}A\x1b[J`);
  }
}
