import { type Signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { ask } from "./state.ts";

/** What the server answers at a path, asked again after that pause as long as the panel is open; `wrong` is empty or says what failed last. */
export function usePolled<T>(
  path: string,
  everyMs: number,
  onAnswer: (answer: T) => void = () => {},
): { answer: Signal<T | undefined>; wrong: Signal<string> } {
  const answer = useSignal<T | undefined>(undefined);
  const wrong = useSignal("");
  useEffect(() => {
    let isOpen = true;
    let timer: ReturnType<typeof setTimeout>;
    const look = async () => {
      try {
        const now = await ask<T>(path);
        wrong.value = "";
        onAnswer(now);
        answer.value = now;
      } catch (error) {
        wrong.value = (error as Error).message;
      }
      if (isOpen) timer = setTimeout(() => void look(), everyMs);
    };
    void look();
    return () => {
      isOpen = false;
      clearTimeout(timer);
    };
  }, [path]);
  return { answer, wrong };
}
