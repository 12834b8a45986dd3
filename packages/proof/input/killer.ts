// Preloaded into a service: to parse certain texts kills it, as a fault in native code would, or a bug.
const { parse } = JSON;

JSON.parse = (text: string, ...more) => {
  if (String(text).includes("killed-by-a-signal")) process.kill(process.pid, "SIGKILL");
  if (String(text).includes("killed-by-a-bug")) {
    queueMicrotask(() => {
      throw new TypeError("a bug");
    });
  }
  return parse(text, ...more);
};
