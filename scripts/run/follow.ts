import { closeSync, openSync, readSync } from "node:fs";

/**
 * Calls `onLine` with each present and future line of a file after the byte `from`; a missing file
 * is waited for. Returns a function that reads the last lines and stops.
 */
export function follow(file: string, onLine: (line: string) => void, from = 0): () => void {
  const buffer = Buffer.alloc(64 * 1024);
  const decoder = new TextDecoder();
  let position = from;
  let rest = "";

  function read(): void {
    let handle: number;
    try {
      handle = openSync(file, "r");
    } catch {
      return;
    }
    try {
      for (;;) {
        const length = readSync(handle, buffer, 0, buffer.length, position);
        if (length === 0) return;
        position += length;
        const text = decoder.decode(buffer.subarray(0, length), {
          stream: true,
        });
        const lines = (rest + text).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) onLine(line);
      }
    } finally {
      closeSync(handle);
    }
  }

  read();
  // Not watchFile, which misses lines written before its first check.
  const timer = setInterval(read, 100);
  return () => {
    clearInterval(timer);
    read();
    if (rest !== "") onLine(rest);
  };
}
