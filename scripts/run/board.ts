import { formatDuration } from "@lab/report/text/format";
import { printable } from "@lab/runtime/printable";

/** What a board writes to: standard error, or what a test looks at. */
interface Screen {
  isTTY: boolean;
  columns: number;
  write: (text: string) => void;
}

/** A file that runs. */
interface Row {
  title: string;
  sinceMs: number;
  /** What it does now. */
  phase: string;
  /** The last live figure of it. */
  live: string;
}

/** As a run reports: `   1.3 s  sync-rest/replay: what it does now`. */
const PROGRESS = /^ *[\d.]+ s {2}\S+: (live: )?(.*)$/;

/** How often the seconds go on. */
const TICK_MS = 1_000;

/**
 * The progress of test files. On a terminal each that runs has one line, with its phase and a live
 * figure, and the last line says how long it may still take; elsewhere it is line after line.
 */
export class Board {
  readonly #screen: Screen;
  readonly #secondsLeft: () => number | undefined;
  readonly #rows = new Map<string, Row>();
  #timer: Timer | undefined;
  #drawn = 0;

  /** `secondsLeft` is the estimate for all that is to come; undefined where there is none. */
  constructor(secondsLeft: () => number | undefined, screen: Screen = standardError()) {
    this.#secondsLeft = secondsLeft;
    this.#screen = screen;
  }

  /** The environment of the runs: how often they should report. */
  get env(): Record<string, string> {
    return this.#screen.isTTY ? { LAB_LIVE_S: String(TICK_MS / 1_000) } : {};
  }

  /** A file begins; `title` is its place among all: "3 of 13". */
  begin(name: string, title: string): void {
    if (!this.#screen.isTTY) return this.#print(`\n── ${title}: ${name}${this.#left(", ")}`);
    this.#rows.set(name, { title, sinceMs: Date.now(), phase: "", live: "" });
    // It must not keep a process alive that an error ends.
    this.#timer ??= setInterval(() => this.#redraw(), TICK_MS).unref();
    this.#redraw();
  }

  /** A line of its output. On a terminal its progress replaces what it did before, and the rest, such as why it failed, stays. */
  line(name: string, text: string): void {
    const row = this.#rows.get(name);
    if (!row) return this.#print(text.includes(name) ? text : `${name}: ${text.trimStart()}`);
    const [, live, progress] = PROGRESS.exec(text) ?? [];
    if (live !== undefined) row.live = progress ?? "";
    else if (progress !== undefined) Object.assign(row, { phase: progress, live: "" });
    else if (!text.startsWith("(pass)")) return this.#redraw(safe(`${name}: ${text.trimStart()}`));
    this.#redraw();
  }

  /** What the lab does for it, before it reports itself. */
  phase(name: string, text: string): void {
    const row = this.#rows.get(name);
    if (!row) return this.#print(`${name}: ${text}`);
    row.phase = text;
    this.#redraw();
  }

  /** It has ended: `result`, which may have colours, stays in its place; elsewhere than on a terminal it isn't printed. */
  end(name: string, result: string): void {
    if (!this.#rows.delete(name)) return;
    if (this.#rows.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
    this.#redraw(result);
  }

  /** Draws all rows anew, below a line that stays. */
  #redraw(above?: string): void {
    const { columns } = this.#screen;
    const rows = [...this.#rows].map(([name, { live, phase, sinceMs, title }]) => {
      const seconds = Math.round((Date.now() - sinceMs) / 1_000);
      // The figure first: a long phase may be cut.
      return [title, name, `${seconds} s`, live, phase].filter(Boolean).join("  ");
    });
    const left = rows.length > 0 ? this.#left("") : "";
    const lines = [...rows, ...(left ? [left] : [])].map((line) => line.slice(0, columns - 1));
    const erase = this.#drawn > 0 ? `\x1b[${this.#drawn}A\x1b[J` : "";
    const kept = above === undefined ? "" : `${above}\n`;
    this.#screen.write(erase + kept + lines.map((line) => `${safe(line)}\n`).join(""));
    this.#drawn = lines.length;
  }

  #left(before: string): string {
    const seconds = this.#secondsLeft();
    if (seconds === undefined) return "";
    return `${before}about ${formatDuration(Math.max(5, Math.round(seconds / 5) * 5))} left`;
  }

  #print(line: string): void {
    this.#screen.write(`${safe(line)}\n`);
  }
}

/** Test output may quote untrusted text. */
function safe(line: string): string {
  return printable(line, "\n\t");
}

function standardError(): Screen {
  const { columns, isTTY } = process.stderr;
  return { isTTY, columns, write: (text) => void process.stderr.write(text) };
}
