import { facts, frame, open } from "../live/state.ts";
import { ms } from "../live/words.ts";

/** The orders that were placed together: the same one in each model, side by side. */
export function Clicks() {
  const { clicks } = frame.value!;
  return (
    <section class="clicks" aria-labelledby="clicks-title">
      <h2 id="clicks-title">The same order, side by side</h2>
      {clicks.length === 0 ? (
        <p class="quiet">
          Order once: each click becomes a row here, with what each customer was told and when it
          ended.
        </p>
      ) : (
        <table>
          <thead>
            <tr>
              <th scope="col">Order</th>
              {facts.value.map(({ model, title }) => (
                <th key={model} scope="col">
                  {title}
                </th>
              ))}
              <th scope="col">
                <span class="unseen">Timeline</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {clicks.map(({ at_ms, n, orders }) => {
              const known = orders.find(({ order_id }) => order_id !== null);
              return (
                <tr key={n}>
                  <th scope="row">
                    {n} <span class="quiet">{new Date(at_ms).toLocaleTimeString()}</span>
                  </th>
                  {facts.value.map(({ model, part }) => {
                    const one = orders.find((each) => each.model === model);
                    return (
                      <td key={model} data-model={part}>
                        {one === undefined ? (
                          "–"
                        ) : (
                          <>
                            <b class={/failed|refused|unknown/.test(one.status) ? "bad" : ""}>
                              {one.status}
                            </b>{" "}
                            {one.ms !== null && ms(one.ms)}{" "}
                            <span class="quiet">{one.said && `told ${one.said}`}</span>
                          </>
                        )}
                      </td>
                    );
                  })}
                  <td>
                    {known && (
                      <button
                        type="button"
                        class="small"
                        aria-label={`Follow order ${n}`}
                        onClick={() =>
                          open({
                            kind: "order",
                            model: known.model,
                            suffix: known.order_id!.slice(-8),
                          })
                        }
                      >
                        Follow
                      </button>
                    )}
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      )}
    </section>
  );
}
