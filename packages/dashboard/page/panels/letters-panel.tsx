import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Letter } from "../../contract/answers.ts";
import { act, ask, factsOf, isDoing, key, modelFrame, sameByHand } from "../live/state.ts";
import { number } from "../live/words.ts";
import { Title } from "./side.tsx";

/** The dead letters of a model, as its broker has them. */
export function LettersPanel({ model }: { model: string }) {
  const letters = useSignal<Letter[] | undefined>(undefined);
  const wrong = useSignal("");
  const facts = factsOf(model);
  const dead = modelFrame(model)?.deadLetters;
  const list = async () => {
    wrong.value = "";
    try {
      letters.value = await ask<Letter[]>(`/letters/${model}`);
    } catch (error) {
      wrong.value = (error as Error).message;
    }
  };
  useEffect(() => void list(), [model]);
  const all = letters.value;
  const queues = [...new Set((all ?? []).map(({ queue }) => queue))];
  return (
    <>
      <Title>
        Dead letters <span class="quiet">of {facts?.title}</span>
      </Title>
      <p>
        The broker counts <b>{number(dead)}</b> now.{" "}
        <button type="button" class="small" onClick={() => void list()}>
          List again
        </button>
      </p>
      {wrong.value !== "" && (
        <p class="bad" role="alert">
          {wrong.value}
        </p>
      )}
      {all === undefined && wrong.value === "" && <p class="quiet">The broker is asked …</p>}
      {all?.length === 0 && (
        <p class="quiet">
          There are none. Send what is no order, and it ends here with its reason.
        </p>
      )}
      {queues.map((queue) => (
        <ReplayAll key={queue} model={model} queue={queue} onDone={list} />
      ))}
      {(all ?? []).map((letter) => (
        <LetterBox
          key={`${letter.queue} ${letter.which}`}
          model={model}
          letter={letter}
          onDone={list}
        />
      ))}
    </>
  );
}

interface Inside {
  model: string;
  onDone: () => Promise<void>;
}

function ReplayAll({ model, onDone, queue }: Inside & { queue: string }) {
  const action = { do: "letter", model, queue, which: "all" } as const;
  return (
    <div class="do">
      <button
        type="button"
        disabled={key === "" || isDoing("letter")}
        onClick={() => void act(action).then(onDone)}
      >
        Replay all of {queue}
      </button>
      <code>{sameByHand(action)}</code>
    </div>
  );
}

function LetterBox({ letter, model, onDone }: Inside & { letter: Letter }) {
  const body = useSignal(letter.body);
  const { attempts, detail, died_at, editable, queue, reason, which } = letter;
  const isEdited = body.value !== letter.body;
  const action = {
    do: "letter",
    model,
    queue,
    which,
    ...(isEdited && { body: body.value }),
  } as const;
  const id = `body-${queue}-${which}`;
  return (
    <section class="letter">
      <h3>
        {reason}{" "}
        <span class="quiet">
          {queue}, {which}
        </span>
      </h3>
      <p>{detail}</p>
      <p class="quiet">
        {died_at === null ? "" : `died ${new Date(died_at).toLocaleString()}`}
        {attempts === null ? "" : `, after ${attempts} ${attempts === 1 ? "attempt" : "attempts"}`}
      </p>
      <label for={id}>{editable ? "Body" : "Body, in hexadecimal: it isn't text"}</label>
      <textarea
        id={id}
        rows={5}
        readOnly={!editable}
        value={body.value}
        onInput={(event) => (body.value = event.currentTarget.value)}
      />
      <div class="do">
        {/* Off until the broker has answered: what is shown is its state, not the button's. */}
        <button
          type="button"
          disabled={key === "" || isDoing("letter")}
          onClick={() => void act(action).then(onDone)}
        >
          {isEdited ? "Replay as edited" : "Replay"}
        </button>
        <code>{sameByHand(action)}</code>
      </div>
    </section>
  );
}
