import { say } from "../say.ts";

/** What several runs say of themselves: on a terminal one line each, written anew in place, elsewhere line after line. */
export class LiveLines {
  readonly #inPlace = process.stderr.isTTY;
  readonly #newest = new Map<string, string>();

  /** For those who speak: how often they should. */
  get env(): Record<string, string> {
    return this.#inPlace ? { LAB_LIVE_S: "1" } : {};
  }

  /** A line of that run, which it names; one with "live:" takes the place of its last. */
  say(run: string, text: string): void {
    const line = text.includes(run) ? text : `${run}: ${text.trimStart()}`;
    if (!this.#inPlace) return say(line);
    this.#erase();
    if (line.includes(": live: ")) this.#newest.set(run, line);
    else say(line);
    this.#write();
  }

  /** That run is over. */
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
