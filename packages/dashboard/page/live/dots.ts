// Orders as dots: each moves as its services' logs said, half a second late.
import { DELAY_MS, type Hop, isShown, MOST_DOTS, STATIONS } from "../../contract/frame.ts";

const TRAVEL_MS = 220;
/** Two arrivals in the same millisecond are shown one after the other. */
const APART_MS = 110;
const FADE_MS = 900;
/** Nothing is under way, and so long nothing was heard of a dot. */
const GONE_MS = 4_000;

interface Dot {
  id: string;
  /** Where in a station it stands, 0 to 1. */
  x: number;
  y: number;
  path: { station: number; atMs: number }[];
}

interface Box {
  left: number;
  top: number;
  width: number;
  height: number;
}

const DONE = STATIONS.indexOf("done");
const FAILED = STATIONS.indexOf("failed");

/** The dots of one column, drawn onto its canvas. */
export class Dots {
  readonly #dots = new Map<string, Dot>();
  #canvas: HTMLCanvasElement | undefined;
  #boxes: Box[] = [];
  /** Whether nothing is drawn. */
  #isBlank = true;
  #colours = { dot: "", failed: "" };

  attach(canvas: HTMLCanvasElement | null): void {
    this.#canvas = canvas ?? undefined;
  }

  clear(): void {
    this.#dots.clear();
  }

  get isEmpty(): boolean {
    return this.#dots.size === 0;
  }

  /** Takes the arrivals of a frame, the scale, and how many orders are under way in truth. */
  add(
    hops: readonly Hop[],
    frameMs: number,
    { open, scale }: { open: number; scale: number },
  ): void {
    for (const { id, path } of this.#dots.values()) {
      // Its end was missed while the page was hidden.
      const isGone = open === 0 && path.at(-1)!.atMs < frameMs - GONE_MS;
      if (isGone || !isShown(id, scale)) this.#dots.delete(id);
    }
    for (const [id, station, agoMs] of hops) {
      let dot = this.#dots.get(id);
      if (dot === undefined) {
        // An end of which nothing was seen before says nothing about a way.
        if (station >= DONE || this.#dots.size >= MOST_DOTS) continue;
        dot = { id, ...placeOf(id), path: [] };
        this.#dots.set(id, dot);
      }
      const saidMs = frameMs - agoMs;
      // Analytics may count an order after its end: the end comes last all the same.
      const atMs = station < DONE ? saidMs : Math.max(saidMs, dot.path.at(-1)?.atMs ?? saidMs);
      dot.path.push({ station, atMs });
      dot.path.sort((a, b) => a.atMs - b.atMs || a.station - b.station);
    }
  }

  /** The id of the dot at that point of the canvas. */
  at(x: number, y: number): string | undefined {
    const nowMs = Date.now() - DELAY_MS;
    const near = [...this.#dots.values()].map((dot) => {
      const [dx, dy] = this.#position(dot, nowMs);
      return { id: dot.id, distance: Math.hypot(dx - x, dy - y) };
    });
    const [first] = near
      .filter(({ distance }) => distance < 12)
      .toSorted((a, b) => a.distance - b.distance);
    return first?.id;
  }

  /** Measures where the stations are: after each change of the layout. */
  measure(): void {
    const canvas = this.#canvas;
    const column = canvas?.parentElement;
    if (!canvas || !column) return;
    const { height, left, top, width } = column.getBoundingClientRect();
    const scale = devicePixelRatio;
    if (
      canvas.width !== Math.round(width * scale) ||
      canvas.height !== Math.round(height * scale)
    ) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    this.#boxes = [];
    for (const tray of column.querySelectorAll<HTMLElement>("[data-station]")) {
      const box = tray.getBoundingClientRect();
      this.#boxes[Number(tray.dataset["station"])] = {
        left: box.left - left,
        top: box.top - top,
        width: box.width,
        height: box.height,
      };
    }
    const style = getComputedStyle(column);
    this.#colours = {
      dot: style.getPropertyValue("--accent"),
      failed: style.getPropertyValue("--bad"),
    };
  }

  draw(moves: boolean): void {
    const canvas = this.#canvas;
    const pen = canvas?.getContext("2d");
    if (!canvas || !pen || (this.isEmpty && this.#isBlank)) return;
    this.#isBlank = this.isEmpty;
    const scale = devicePixelRatio;
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    const nowMs = Date.now() - DELAY_MS;
    for (const dot of this.#dots.values()) {
      const end = dot.path.at(-1)!;
      const age = nowMs - end.atMs;
      const isOver = end.station >= DONE;
      if (isOver && age > FADE_MS + APART_MS * 6) {
        this.#dots.delete(dot.id);
        continue;
      }
      if (dot.path[0]!.atMs > nowMs + TRAVEL_MS) continue;
      const [x, y] = this.#position(dot, moves ? nowMs : Math.floor(nowMs / 250) * 250);
      pen.globalAlpha = isOver ? Math.max(0, Math.min(1, 1 - age / FADE_MS)) : 0.9;
      drawDot(pen, x, y, end.station === FAILED && age > 0, this.#colours);
    }
    pen.globalAlpha = 1;
  }

  #position(dot: Dot, nowMs: number): [x: number, y: number] {
    let [x, y] = this.#place(dot, dot.path[0]!.station, undefined);
    let free = -Infinity;
    let from = this.#boxes[dot.path[0]!.station];
    for (const { atMs, station } of dot.path) {
      const arriveMs = Math.max(atMs, free + APART_MS);
      const startMs = Math.max(arriveMs - TRAVEL_MS, free);
      if (nowMs < startMs) break;
      const [toX, toY] = this.#place(dot, station, from);
      const share = Math.min(1, (nowMs - startMs) / Math.max(1, arriveMs - startMs));
      const eased = share * (2 - share);
      x += (toX - x) * eased;
      y += (toY - y) * eased;
      from = this.#boxes[station] ?? from;
      free = arriveMs;
      if (share < 1) break;
    }
    return [x, y];
  }

  /** An end is where the order was last. */
  #place({ x, y }: Dot, station: number, from: Box | undefined): [x: number, y: number] {
    const box = this.#boxes[station] ?? from;
    if (box === undefined) return [-20, -20];
    return [box.left + 8 + x * (box.width - 16), box.top + 8 + y * (box.height - 16)];
  }
}

function drawDot(
  pen: CanvasRenderingContext2D,
  x: number,
  y: number,
  failed: boolean,
  { dot, failed: bad }: { dot: string; failed: string },
): void {
  pen.beginPath();
  if (!failed) {
    pen.fillStyle = dot;
    pen.arc(x, y, 4, 0, Math.PI * 2);
    pen.fill();
    return;
  }
  // A cross: it differs without colour too.
  pen.strokeStyle = bad;
  pen.lineWidth = 2.5;
  pen.moveTo(x - 4, y - 4);
  pen.lineTo(x + 4, y + 4);
  pen.moveTo(x + 4, y - 4);
  pen.lineTo(x - 4, y + 4);
  pen.stroke();
}

/** Always the same place for an order. */
function placeOf(id: string): { x: number; y: number } {
  const hash = Number.parseInt(id, 16) || 0;
  return { x: (hash % 97) / 96, y: (Math.floor(hash / 97) % 89) / 88 };
}
